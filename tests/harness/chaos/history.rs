//! Every write of the mirror, row by row, noted by triggers: what a look at the end cannot show.

/// Makes the table and the triggers. The number is taken under the row's lock, so for one row it is the
/// order of the writes; a rolled back write leaves no row.
pub(super) const CREATE: &str = r#"
    create table chaos_history (
        number bigserial primary key,
        kind text not null,
        id text not null,
        organization text collate "C",
        profile text collate "C",
        groups text collate "C",
        state text collate "C",
        status text not null
    );
    create function chaos_note() returns trigger language plpgsql as $$
    declare it jsonb := to_jsonb(new);
    begin
        insert into chaos_history (kind, id, organization, profile, groups, state, status) values (
            tg_table_name, new.id, it->>'organization_version', coalesce(it->>'profile_version', it->>'name_version'),
            coalesce(it->>'groups_version', it->>'directory_version'), it->>'status_version', new.status);
        return null;
    end $$;
    create trigger chaos_note after insert or update on users for each row execute function chaos_note();
    create trigger chaos_note after insert or update on groups for each row execute function chaos_note();
    create trigger chaos_note after insert or update on organizations for each row execute function chaos_note();
    create table chaos_removed (kind text not null, id text not null);
    create function chaos_remove() returns trigger language plpgsql as $$
    begin
        insert into chaos_removed values (tg_table_name, old.id);
        return null;
    end $$;
    create trigger chaos_remove after delete on users for each row execute function chaos_remove();
    create trigger chaos_remove after delete on groups for each row execute function chaos_remove();
    create trigger chaos_remove after delete on organizations for each row execute function chaos_remove();
"#;

/// Rows whose version of any register fell, and rows that were removed instead of being marked.
pub(super) const FALLEN: &str = r"
    select kind || ' ' || id || ' at write ' || number from (
        select *,
            lag(organization) over each as organization_before, lag(profile) over each as profile_before,
            lag(groups) over each as groups_before, lag(state) over each as state_before
        from chaos_history window each as (partition by kind, id order by number)
    ) as written
    where organization < organization_before or profile < profile_before
        or groups < groups_before or state < state_before
    union all select kind || ' ' || id || ' was removed' from chaos_removed
    limit 100";

/// Rows that came back after a deletion without an event newer than it.
pub(super) const RESURRECTED: &str = r"
    select kind || ' ' || id || ' at write ' || number from (
        select *, lag(status) over each as status_before, lag(state) over each as state_before
        from chaos_history window each as (partition by kind, id order by number)
    ) as written
    where status_before <> 'active' and status = 'active' and state <= state_before
    limit 100";

/// How many writes were noted.
pub(super) const WRITES: &str = "select count(*) from chaos_history";
