-- The share of each labeler's labels that was reviewed, and of reviews that approved.
with current_reviews as (
    select
        r.project_id,
        r.data_row_id,
        r.label_id,
        count(*) as reviews,
        sum(case when r.score > 0 then 1 else 0 end) as approvals
    from label_reviews as r
    join data_row_exports as d using (project_id, data_row_id)
    where r.last_activity_at is not distinct from d.last_activity_at
    group by r.project_id, r.data_row_id, r.label_id
)

select
    l.created_by_email as labeler,
    count(*) as labels,
    avg(case when r.reviews > 0 then 1.0 else 0.0 end) as reviewed,
    sum(r.approvals) * 1.0 / sum(r.reviews) as approved
from export_labels as l
join data_row_exports as d using (project_id, data_row_id)
left join current_reviews as r using (project_id, data_row_id, label_id)
where l.last_activity_at is not distinct from d.last_activity_at
group by l.created_by_email
order by labeler
