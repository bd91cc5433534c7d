-- How far each labeler agrees with others, and with benchmarks, from 0 to 1.
select
    l.created_by_email as labeler,
    count(l.agreement) as compared,
    avg(l.agreement) as agreement,
    count(l.benchmark_agreement) as benchmarked,
    avg(l.benchmark_agreement) as benchmark_agreement
from export_labels as l
join data_row_exports as d using (project_id, data_row_id)
where l.last_activity_at is not distinct from d.last_activity_at
group by l.created_by_email
order by labeler
