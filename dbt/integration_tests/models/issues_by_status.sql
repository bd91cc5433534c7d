select status, count(*) as issues
from {{ ref('stg_labelbox__issues') }}
group by status
