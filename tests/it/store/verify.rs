//! The stored events against the tables: clean after any load, and nothing tampered with goes unseen.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::bed::Bed;
use super::on_both;
use super::said::{ORGANIZATION, Said};

async fn load(bed: &Bed) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(11);
    let mut said = Vec::new();
    for n in 0..3_000 {
        let (user, group) = (format!("user_{}", random.random_range(0..100)), format!("group_{}", n % 7));
        let at = random.random_range(0..500);
        said.push(match random.random_range(0..8) {
            0 => Said::created(&user, at).in_groups(&[&group, "group_only_mentioned"]),
            1..4 => {
                Said::updated(&user, at).in_groups(&[&group]).with("custom", json!({"n": n, "é": [1.50]}))
            }
            4 => Said::deactivated(&user, at).with("roles", json!([{"role_name": group}])),
            5 => Said::deleted(&user, at),
            6 => Said::group_updated(&group, at),
            _ => Said::organization("updated", ORGANIZATION, at),
        });
    }
    for batch in said.chunks(300) {
        bed.apply(batch).await?;
    }
    let others = [Said::deleted("only_deleted", 1), Said::updated("never_grouped", 1), Said::recorded(1)];
    bed.apply(&others).await?;
    Ok(())
}

/// What a verification finds, as `kind id register`.
async fn found(bed: &Bed) -> anyhow::Result<Vec<String>> {
    let differences = bed.store.verify().await?.differences;
    Ok(differences.iter().map(|it| format!("{} {} {}", it.kind, it.id, it.register)).collect())
}

on_both! {
    async fn nothing_differs_after_a_random_load(bed: Bed) {
        assert_eq!(bed.store.verify().await?.events, 0);
        load(&bed).await?;
        let verification = bed.store.verify().await?;
        assert_eq!(verification.differences, Vec::new());
        assert!(verification.events > 2_500, "{verification:?}");
        assert!(verification.rows > 100 + 7, "{verification:?}");
        Ok(())
    }

    /// Each tampering is found, by the register it is in, and undone again.
    async fn whatever_is_tampered_with_is_found(bed: Bed) {
        load(&bed).await?;
        let cases = [
            ("UPDATE users SET email = 'eve@example.com' WHERE id = 'user_7'", "user user_7 profile"),
            ("UPDATE users SET attributes = '{}' WHERE id = 'never_grouped'", ""),
            ("UPDATE users SET vendor_roles = '[\"admin\"]' WHERE id = 'never_grouped'", "user never_grouped profile"),
            ("UPDATE users SET email = 'eve@example.com' WHERE id = 'only_deleted'", "user only_deleted profile"),
            ("UPDATE users SET status = 'active' WHERE id = 'only_deleted'", "user only_deleted status"),
            ("UPDATE users SET status = 'deleted' WHERE id = 'never_grouped'", "user never_grouped status"),
            ("UPDATE users SET organization_id = 'org_2' WHERE id = 'user_7'", "user user_7 organization"),
            ("UPDATE users SET groups_version = '2099' WHERE id = 'user_7'", "user user_7 groups"),
            ("INSERT INTO memberships VALUES ('user_7', 'group_secret')", "user user_7 groups"),
            ("INSERT INTO memberships VALUES ('never_grouped', 'group_1')", "user never_grouped groups"),
            ("INSERT INTO memberships VALUES ('zz_nobody', 'group_1')", "user zz_nobody groups"),
            ("INSERT INTO memberships VALUES ('a_nobody', 'group_1')", "user a_nobody groups"),
            ("DELETE FROM memberships", "user user_7 groups"),
            ("DELETE FROM users WHERE id = 'user_7'", "user user_7 profile"),
            ("INSERT INTO users (id, organization_id) VALUES ('eve', 'org_1')", "user eve status"),
            ("UPDATE groups SET name = 'x' WHERE id = 'group_1'", "group group_1 name"),
            ("UPDATE groups SET status = 'deleted' WHERE id = 'group_only_mentioned'", "group group_only_mentioned status"),
            ("UPDATE groups SET name = 'x' WHERE id = 'group_only_mentioned'", "group group_only_mentioned name"),
            ("DELETE FROM groups WHERE id = 'group_only_mentioned'", "group group_only_mentioned status"),
            ("INSERT INTO groups (id, organization_id) VALUES ('group_new', 'org_1')", "group group_new status"),
            ("UPDATE organizations SET status = 'deleted'", "organization org_1 status"),
        ];
        for (tampering, expected) in cases {
            save(&bed).await?;
            bed.run(tampering).await?;
            let found = found(&bed).await?;
            if expected.is_empty() {
                assert_eq!(found, [""; 0], "{tampering}: nothing changed by it");
            } else {
                assert!(found.iter().any(|line| line == expected), "{tampering}: {expected} is not in {found:?}");
            }
            restore(&bed).await?;
        }
        assert_eq!(found(&bed).await?, [""; 0]);
        Ok(())
    }

    async fn a_removed_event_is_found_by_what_it_wrote(bed: Bed) {
        bed.apply(&[Said::created("ada", 1), Said::created("bob", 1)]).await?;
        bed.run("DELETE FROM events WHERE subject_id = 'bob'").await?;
        assert!(found(&bed).await?.contains(&"user bob profile".to_owned()));
        assert!(!found(&bed).await?.iter().any(|line| line.contains("ada")));
        Ok(())
    }
}

const MIRROR: [&str; 4] = ["users", "memberships", "groups", "organizations"];

async fn save(bed: &Bed) -> anyhow::Result<()> {
    for table in MIRROR {
        bed.run(&format!("CREATE TABLE IF NOT EXISTS saved_{table} AS SELECT * FROM {table}")).await?;
    }
    Ok(())
}

async fn restore(bed: &Bed) -> anyhow::Result<()> {
    for table in MIRROR {
        bed.run(&format!("DELETE FROM {table}")).await?;
        bed.run(&format!("INSERT INTO {table} SELECT * FROM saved_{table}")).await?;
    }
    Ok(())
}
