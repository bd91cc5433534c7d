-- Annotations that are still there: those of the latest export of their data row.
select a.*
from annotations as a
join data_row_exports as d using (project_id, data_row_id)
where a.last_activity_at is not distinct from d.last_activity_at
