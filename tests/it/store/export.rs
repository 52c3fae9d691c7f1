//! The export: every person once, in one order that both databases agree on.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::bed::Bed;
use super::on_both;
use super::said::Said;

/// Ids with everything an id may hold, sorted bytewise.
fn odd_ids(count: usize) -> Vec<String> {
    const LETTERS: [&str; 16] =
        ["a", "A", "z", "Z", "_", "-", ".", "~", " ", "é", "É", "ß", "日", "🦀", "%", "0"];
    let mut random = StdRng::seed_from_u64(5);
    let mut ids: Vec<String> = Vec::new();
    while ids.len() < count {
        let length = random.random_range(1..6);
        let letters: String = (0..length).map(|_| LETTERS[random.random_range(0..16)]).collect();
        ids.push(format!("{letters}{}", random.random_range(0..50)));
        ids.sort();
        ids.dedup();
    }
    ids
}

on_both! {
    async fn five_thousand_people_come_page_by_page_in_byte_order(bed: Bed) {
        let ids = odd_ids(5_000);
        let mut people: Vec<Said> = ids.iter().map(|id| Said::created(id, 1).in_groups(&[id, "Z", "a"])).collect();
        people.reverse();
        for batch in people.chunks(500) {
            bed.apply(batch).await?;
        }
        for size in [1_000, 777] {
            let (mut found, mut after) = (Vec::new(), String::new());
            loop {
                let page = bed.store.people(None, &after, size).await?;
                let Some(last) = page.last() else { break };
                after.clone_from(&last.id);
                found.extend(page);
            }
            assert!(found.iter().map(|person| &person.id).eq(ids.iter()));
            for person in &found {
                let mut groups = vec![person.id.as_str(), "Z", "a"];
                groups.sort_unstable();
                groups.dedup();
                assert_eq!(person.groups, groups);
            }
        }
        assert_eq!(bed.store.groups(None, "", 10_000).await?.len(), ids.len() + 2);
        Ok(())
    }

    async fn a_page_can_be_of_one_organization(bed: Bed) {
        let said = |n: usize| Said::created(&format!("user_{n}"), 1).of(["org_a", "org_b"][n % 2]).in_groups(&["g"]);
        bed.apply(&(0..10).map(said).collect::<Vec<_>>()).await?;
        let page = bed.store.people(Some("org_b"), "user_3", 2).await?;
        let ids: Vec<&str> = page.iter().map(|person| person.id.as_str()).collect();
        assert_eq!(ids, ["user_5", "user_7"]);
        assert!(page.iter().all(|person| person.groups == ["g"] && person.organization_id == "org_b"));
        assert_eq!(bed.store.people(Some("org_c"), "", 9).await?, Vec::new());
        Ok(())
    }

    async fn an_unknown_person_is_none(bed: Bed) {
        bed.apply(&[Said::created("ada", 1)]).await?;
        assert!(bed.store.person("Ada").await?.is_none());
        assert!(bed.store.person("").await?.is_none());
        Ok(())
    }
}
