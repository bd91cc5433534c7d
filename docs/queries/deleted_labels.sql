-- Labels that Labelbox no longer has, as of the latest presence of their project.
-- A run counts if all its records are there. What is too new for it is no deletion.
with seen_labels as (
    select seen_at
    from label_presence
    group by seen_at
    having count(*) = max(record_count)
),
seen_projects as (
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
select l.*
from labels as l
join seen_projects as p on p.project_id = l.project_id
join seen_labels as r on r.seen_at = p.seen_at
left join label_presence as s
    on s.project_id = l.project_id and s.label_id = l.id and s.seen_at = p.seen_at
where s.label_id is null and l.created_at < p.seen_at - interval '1 hour'
