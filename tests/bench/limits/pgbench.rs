//! PostgreSQL alone: the rows of the apply path by hand-written batches, driven by pgbench.

use std::time::Duration;

use anyhow::Context;
use rollcall_tests::process::{Settings, run};

use crate::deliveries::{BODY, Population};
use crate::stage::{EVENT_COLUMNS, Stage, organization_sql};

/// Events per transaction, as the worker takes them.
pub(crate) const BATCH: usize = 256;

/// Makes what the script needs, once per database.
pub(crate) async fn prepare(stage: &Stage, database: &str) -> anyhow::Result<()> {
    let made = format!(
        "CREATE TABLE bench_body (body bytea NOT NULL);
         INSERT INTO bench_body SELECT string_agg(md5(n::text), '')::bytea FROM generate_series(1, {}) n;
         UPDATE bench_body SET body = substr(body, 1, {BODY})",
        BODY / 32 + 1
    );
    stage.sql(database, &made).await.map(drop)
}

/// Events a second with so many clients, each one transaction at a time.
pub(crate) async fn rate(
    stage: &Stage,
    database: &str,
    people: Population,
    clients: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let script = stage.file("apply.sql");
    std::fs::write(&script, statements(people))?;
    let (clients, seconds) = (clients.to_string(), time.as_secs().max(1).to_string());
    let program = stage.postgres().await?.program("pgbench");
    let script = script.display().to_string();
    let arguments =
        ["-n", "-M", "prepared", "-c", &clients, "-j", "1", "-T", &seconds, "-f", &script, database];
    let printed = run(&program, &arguments, &Settings::new(), &stage.file("")).await?.success()?;
    let transactions =
        printed.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    let transactions: f64 = transactions.with_context(|| format!("pgbench printed no rate: {printed}"))?;
    Ok(transactions * BATCH as f64)
}

/// Sorted as the worker sorts, or two clients meet in a circle.
fn statements(people: Population) -> String {
    let Population { users, organizations, groups_each } = people;
    let people_of_batch = format!(
        "(SELECT ((:base::bigint + g) * 7919) % {users} AS n, :base::bigint + g AS number FROM generate_series(1, {BATCH}) g) AS batch"
    );
    let user = "'diruser_' || lpad(n::text, 17, '0')";
    let organization = organization_sql(people);
    // As long as ours, and rising. No colon in it: pgbench would take it for a variable.
    let version = "to_char(clock_timestamp(), 'YYYY-MM-DD HH24.MI.SS.US') || '000Z 0 evt_bench' || lpad(number::text, 13, '0') || ' ' || substr(md5(number::text), 1, 16)";
    let group = |step: &str| {
        format!(
            "'dirgroup_' || lpad(((n % {organizations}) * {groups_each} + (number + {step}) % {groups_each})::text, 17, '0')"
        )
    };
    let (first, second) = (group("0"), group("1"));
    let script = format!(
        "\\set base random(1, 100000000000)
         BEGIN;
         INSERT INTO events ({EVENT_COLUMNS})
         SELECT 'scalekit', 'evt_' || :client_id || '_' || number, sha256(number::text::bytea),
             'organization.directory.user_updated', {organization}, {user}, {version}, 'msg_' || number, 1,
             now(), now(), NULL, 'applied', (SELECT body FROM bench_body)
         FROM {people_of_batch} ORDER BY 2 ON CONFLICT DO NOTHING;
         INSERT INTO users AS kept (id, organization_id, organization_version, email, name, given_name, family_name,
             user_name, dp_id, attributes, vendor_roles, profile_version, groups_version, status, status_version)
         SELECT {user}, {organization}, {version}, 'person' || n || '@example.com', 'Person ' || n, 'Person',
             'Number ' || n, 'person' || n || '@example.com', '00u' || n, '{{\"title\":\"Analyst\",\"department\":\"Finance\",\"employee_id\":\"E-1\",\"locale\":\"en-US\"}}', '[\"member\"]', {version}, {version},
             'active', {version}
         FROM {people_of_batch} ORDER BY 1
         ON CONFLICT (id) DO UPDATE SET organization_version = excluded.organization_version, email = excluded.email,
             name = excluded.name, given_name = excluded.given_name, family_name = excluded.family_name,
             user_name = excluded.user_name, dp_id = excluded.dp_id, attributes = excluded.attributes,
             vendor_roles = excluded.vendor_roles, profile_version = excluded.profile_version,
             groups_version = excluded.groups_version, status = excluded.status, status_version = excluded.status_version
         WHERE excluded.profile_version > kept.profile_version;
         DELETE FROM memberships WHERE user_id IN (SELECT {user} FROM {people_of_batch});
         INSERT INTO memberships (user_id, group_id)
         SELECT {user}, {first} FROM {people_of_batch} UNION ALL SELECT {user}, {second} FROM {people_of_batch}
         ORDER BY 1, 2 ON CONFLICT DO NOTHING;
         COMMIT;\n"
    );
    // pgbench ends a statement at its semicolon and a backslash command at the end of its line.
    script.lines().map(|line| format!("{}\n", line.trim_start())).collect()
}
