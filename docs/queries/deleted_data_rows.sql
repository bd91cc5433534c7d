-- Data rows that Labelbox no longer has in their project, as of its latest presence.
-- A run counts if all its records are there. What is too new for it is no deletion.
with seen_projects as (
    select project_id, max(seen_at) as seen_at
    from data_row_presence
    where seen_at in (
        select seen_at
        from data_row_presence
        group by seen_at
        having count(*) = max(record_count)
    )
    group by project_id
)
select d.*
from data_row_exports as d
join seen_projects as p on p.project_id = d.project_id
left join data_row_presence as s
    on s.project_id = d.project_id
    and s.data_row_id = d.data_row_id
    and s.seen_at = p.seen_at
where s.data_row_id is null and d.last_activity_at < p.seen_at - interval '1 hour'
