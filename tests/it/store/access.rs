//! Who may come in and as what: the views, reason by reason, with the same rows on both databases.

use serde_json::json;

use super::bed::Bed;
use super::on_both;
use super::said::{ORGANIZATION, Said};

async fn allow(bed: &Bed, domain: &str) -> anyhow::Result<()> {
    let sql = "INSERT INTO organization_domains (organization_id, domain) VALUES";
    bed.run(&format!("{sql} ('{ORGANIZATION}', '{domain}')")).await?;
    Ok(())
}

async fn map(bed: &Bed, by: &str, matched: &str, role: &str) -> anyhow::Result<()> {
    let sql = "INSERT INTO role_mappings (organization_id, matched_by, matched, role) VALUES";
    bed.run(&format!("{sql} ('{ORGANIZATION}', '{by}', '{matched}', '{role}')")).await?;
    Ok(())
}

async fn by_default(bed: &Bed, role: &str) -> anyhow::Result<()> {
    bed.run(&format!(
        "INSERT INTO default_roles (organization_id, role) VALUES ('{ORGANIZATION}', '{role}')"
    ))
    .await?;
    Ok(())
}

async fn access(bed: &Bed, user: &str) -> anyhow::Result<String> {
    Ok(bed.person(user).await?.access)
}

async fn roles(bed: &Bed, user: &str) -> anyhow::Result<Vec<String>> {
    Ok(bed.person(user).await?.roles)
}

on_both! {
    /// Each step takes the strongest reason away and shows the next.
    async fn the_first_reason_that_applies_is_the_one_given(bed: Bed) {
        allow(&bed, "allowed.example").await?;
        by_default(&bed, "member").await?;
        bed.apply(&[
            Said::created("ada", 1),
            Said::deactivated("ada", 2),
            Said::deleted("ada", 3),
            Said::organization("deleted", ORGANIZATION, 3),
        ])
        .await?;
        assert_eq!(access(&bed, "ada").await?, "organization_deleted");
        bed.apply(&[Said::organization("created", ORGANIZATION, 4)]).await?;
        assert_eq!(access(&bed, "ada").await?, "deleted");
        bed.apply(&[Said::deactivated("ada", 4)]).await?;
        assert_eq!(access(&bed, "ada").await?, "deactivated");
        assert_eq!(roles(&bed, "ada").await?, [""; 0]);
        bed.apply(&[Said::updated("ada", 5).with("active", json!(true))]).await?;
        assert_eq!(access(&bed, "ada").await?, "domain_not_allowed");
        assert_eq!(roles(&bed, "ada").await?, [""; 0]);
        bed.apply(&[Said::updated("ada", 6).with_email("ada@allowed.example")]).await?;
        assert_eq!(access(&bed, "ada").await?, "active");
        assert_eq!(roles(&bed, "ada").await?, ["member"]);
        Ok(())
    }

    async fn a_directory_switched_off_takes_nobody_s_access(bed: Bed) {
        let mut off = Said::recorded(2);
        off.0["type"] = json!("organization.directory_disabled");
        bed.apply(&[Said::created("ada", 1), off]).await?;
        assert_eq!(access(&bed, "ada").await?, "active");
        Ok(())
    }

    async fn a_domain_is_what_follows_the_last_at_sign(bed: Bed) {
        let cases = [
            (Some("ada@example.com"), true),
            (Some("ADA@EXAMPLE.COM"), true),
            (Some("ada@lab@example.com"), true),
            (Some("ada@xn--exmple-cua.com"), true),
            (None, false),
            (Some("example.com"), false),
            (Some("@example.com"), false),
            (Some("ada@"), false),
            (Some("@"), false),
            (Some("ada@example.com@elsewhere.org"), false),
            (Some("ada@sub.example.com"), false),
            (Some("ada@notexample.com"), false),
            (Some("ada@example.com.elsewhere.org"), false),
            (Some("ada@example.com "), false),
            (Some("ada@example_com"), false),
            (Some("ada@%"), false),
            // Only ASCII letters are folded: a database must not fold more than the other.
            (Some("ada@EXÄMPLE.com"), false),
            (Some("ada@exämple.com"), true),
            (Some("ada@\u{212a}elvin.com"), false),
        ];
        let said = |(n, (email, _)): (usize, &(Option<&str>, bool))| {
            Said::created(&format!("user_{n:02}"), 1).with("email", json!(email))
        };
        let people: Vec<Said> = cases.iter().enumerate().map(said).collect();
        bed.apply(&people).await?;
        // Without a single domain nobody is refused.
        assert!(bed.everybody().await?.iter().all(|person| person.access == "active"));
        for domain in ["example.com", "xn--exmple-cua.com", "exämple.com", "kelvin.com"] {
            allow(&bed, domain).await?;
        }
        let found: Vec<_> = bed.everybody().await?.into_iter().map(|person| person.access).collect();
        for ((email, allowed), access) in cases.iter().zip(found) {
            assert_eq!(access, if *allowed { "active" } else { "domain_not_allowed" }, "{email:?}");
        }
        // Another customer's list is not ours.
        bed.apply(&[Said::created("elsewhere", 1).of("org_2").with_email("x@nowhere.org")]).await?;
        assert_eq!(access(&bed, "elsewhere").await?, "active");
        Ok(())
    }

    async fn roles_are_the_union_of_every_source_each_once(bed: Bed) {
        by_default(&bed, "member").await?;
        map(&bed, "id", "group_1", "editor").await?;
        map(&bed, "id", "group_2", "editor").await?;
        map(&bed, "id", "group_2", "member").await?;
        map(&bed, "name", "Billing", "billing").await?;
        // A name is no id.
        map(&bed, "id", "Billing", "administrator").await?;
        map(&bed, "name", "group_1", "administrator").await?;
        let given = json!([{"role_name": "vendor"}, {"role_name": "member"}, {"id": "role_1"}]);
        bed.apply(&[
            Said::created("ada", 1).in_groups(&["group_1", "group_2", "group_3"]).with("roles", given.clone()),
            Said::group_created("group_3", 1).with("display_name", json!("Billing")),
            Said::created("bob", 1),
            Said::created("eve", 1).in_groups(&["group_1"]).with("roles", given).of("org_2"),
        ])
        .await?;
        assert_eq!(roles(&bed, "ada").await?, ["billing", "editor", "member"]);
        assert_eq!(roles(&bed, "bob").await?, ["member"]);
        // Another customer's mapping is not ours, and nobody is trusted by themselves.
        assert_eq!(roles(&bed, "eve").await?, [""; 0]);

        bed.run(&format!("UPDATE organizations SET trusts_vendor_roles = true WHERE id = '{ORGANIZATION}'")).await?;
        assert_eq!(roles(&bed, "ada").await?, ["billing", "editor", "member", "vendor"]);
        assert_eq!(roles(&bed, "bob").await?, ["member"]);
        assert_eq!(roles(&bed, "eve").await?, [""; 0]);
        Ok(())
    }

    async fn every_role_names_where_it_comes_from(bed: Bed) {
        by_default(&bed, "member").await?;
        map(&bed, "id", "group_1", "member").await?;
        map(&bed, "name", "One", "editor").await?;
        bed.apply(&[
            Said::created("ada", 1).in_groups(&["group_1"]).with("roles", json!([{"role_name": "Éditor"}])),
            Said::group_created("group_1", 1).with("display_name", json!("One")),
        ])
        .await?;
        bed.run("UPDATE organizations SET trusts_vendor_roles = true").await?;
        let rows = bed.texts("SELECT role, via, group_id FROM roles ORDER BY role, via", 3).await?;
        let row = |role: &str, via: &str, group: Option<&str>| {
            vec![Some(role.to_owned()), Some(via.to_owned()), group.map(str::to_owned)]
        };
        assert_eq!(rows, [
            row("editor", "group_name", Some("group_1")),
            row("member", "default", None),
            row("member", "group_id", Some("group_1")),
            row("Éditor", "vendor", None),
        ]);
        Ok(())
    }

    async fn a_renamed_or_deleted_group_changes_roles_at_once(bed: Bed) {
        map(&bed, "name", "Admins", "administrator").await?;
        map(&bed, "id", "group_1", "editor").await?;
        let named = |seconds, name: &str| Said::group_updated("group_1", seconds).with("display_name", json!(name));
        bed.apply(&[Said::created("ada", 1).in_groups(&["group_1"])]).await?;
        // A stub has no name yet, but the id counts.
        assert_eq!(roles(&bed, "ada").await?, ["editor"]);
        bed.apply(&[named(2, "Admins")]).await?;
        assert_eq!(roles(&bed, "ada").await?, ["administrator", "editor"]);
        bed.apply(&[named(3, "admins")]).await?;
        assert_eq!(roles(&bed, "ada").await?, ["editor"]);
        bed.apply(&[named(1, "Admins"), Said::group_deleted("group_1", 4)]).await?;
        assert_eq!(roles(&bed, "ada").await?, [""; 0]);
        assert_eq!(bed.person("ada").await?.groups, [""; 0]);
        Ok(())
    }

    async fn a_leaver_has_no_roles_from_anywhere(bed: Bed) {
        by_default(&bed, "member").await?;
        map(&bed, "id", "group_1", "editor").await?;
        let given = json!([{"role_name": "vendor"}]);
        let joined = |user: &str| Said::created(user, 1).in_groups(&["group_1"]).with("roles", given.clone());
        bed.apply(&[joined("ada"), joined("bob"), joined("eve")]).await?;
        bed.run("UPDATE organizations SET trusts_vendor_roles = true").await?;
        assert_eq!(roles(&bed, "ada").await?, ["editor", "member", "vendor"]);
        bed.apply(&[Said::deleted("ada", 2), Said::deactivated("bob", 2)]).await?;
        for leaver in ["ada", "bob"] {
            assert_eq!(roles(&bed, leaver).await?, [""; 0], "{leaver}");
        }
        bed.apply(&[Said::organization("deleted", ORGANIZATION, 2)]).await?;
        assert_eq!(roles(&bed, "eve").await?, [""; 0]);
        Ok(())
    }
}
