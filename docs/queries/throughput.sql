-- Labels by labeler and day, and the hours that they took.
select
    l.created_by_email as labeler,
    cast(l.created_at as date) as day,
    count(*) as labels,
    sum(case when l.is_skipped then 1 else 0 end) as skipped,
    sum(coalesce(l.seconds_to_label, l.seconds_to_create)) / 3600.0 as hours
from export_labels as l
join data_row_exports as d using (project_id, data_row_id)
where l.last_activity_at is not distinct from d.last_activity_at
group by l.created_by_email, cast(l.created_at as date)
order by labeler, day
