{%- set query -%}
select
    count(*) as number,
    count(distinct day) as different,
    min(day) as first_day,
    max(day) as last_day
from ({{ labelbox.labelbox_days("cast('2024-02-27' as date)", "cast('2026-03-02' as date)") }}) as days
{%- endset -%}
{{ failing(query, [
    ('number', "number = 735"),
    ('different', "different = 735"),
    ('first', "first_day = cast('2024-02-27' as date)"),
    ('last', "last_day = cast('2026-03-02' as date)"),
]) }}
