{%- set query -%}
select
    {{ labelbox.labelbox_percentile('n', 0.5) }} as median,
    min({{ labelbox.labelbox_key(['n', 'word']) }}) as least,
    count(distinct {{ labelbox.labelbox_key(['n', 'word']) }}) as keys
from (
    select 1 as n, 'a' as word union all
    select 2 as n, '' as word union all
    select 2 as n, null as word union all
    select 11 as n, 'a' as word
) as numbers
{%- endset -%}
{{ failing(query, [('median', "median = 2"), ('keys', "keys = 4")]) }}
