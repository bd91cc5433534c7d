{#- Timestamps, all of which are in UTC. -#}


{#- Seconds from one to the other, with their fraction. -#}
{% macro labelbox_seconds(first, last) -%}
    {{ return(adapter.dispatch('labelbox_seconds', 'labelbox')(first, last)) }}
{%- endmacro %}

{% macro default__labelbox_seconds(first, last) -%}
(datediff('microsecond', {{ first }}, {{ last }}) / 1000000.0)
{%- endmacro %}

{% macro duckdb__labelbox_seconds(first, last) -%}
(epoch_us({{ last }}) - epoch_us({{ first }})) / 1000000.0
{%- endmacro %}

{% macro postgres__labelbox_seconds(first, last) -%}
cast(extract(epoch from ({{ last }} - {{ first }})) as double precision)
{%- endmacro %}

{% macro bigquery__labelbox_seconds(first, last) -%}
(timestamp_diff({{ last }}, {{ first }}, microsecond) / 1000000.0)
{%- endmacro %}

{% macro spark__labelbox_seconds(first, last) -%}
((unix_micros({{ last }}) - unix_micros({{ first }})) / 1000000.0D)
{%- endmacro %}

{#- Not what Postgres does: Redshift does not know extract(epoch) of an interval. -#}
{% macro redshift__labelbox_seconds(first, last) -%}
(datediff(microsecond, {{ first }}, {{ last }}) / 1000000.0::double precision)
{%- endmacro %}


{#- The day of a timestamp. -#}
{% macro labelbox_day(timestamp) -%}
cast({{ timestamp }} as date)
{%- endmacro %}


{#- The Monday of the week of a timestamp or a day. -#}
{% macro labelbox_week(timestamp) -%}
    {{ return(adapter.dispatch('labelbox_week', 'labelbox')(timestamp)) }}
{%- endmacro %}

{% macro default__labelbox_week(timestamp) -%}
cast(date_trunc('week', {{ timestamp }}) as date)
{%- endmacro %}

{% macro bigquery__labelbox_week(timestamp) -%}
date_trunc(cast({{ timestamp }} as date), isoweek)
{%- endmacro %}

{#- What it calls a week depends on the session. -#}
{% macro snowflake__labelbox_week(timestamp) -%}
dateadd('day', 1 - dayofweekiso({{ timestamp }}), cast({{ timestamp }} as date))
{%- endmacro %}


{#- A timestamp that is written out, such as '2026-11-01' or '2026-11-01 12:30:00'. -#}
{% macro labelbox_timestamp(text) -%}
cast('{{ text }}' as {{ labelbox.labelbox_type('timestamp') }})
{%- endmacro %}


{#- A query for all days, as `day`, from the first to the last, both of them scalar
    expressions or subqueries of dates; no more than 10,000. -#}
{% macro labelbox_days(first, last) -%}
select day
from (
    select
        {{ labelbox.labelbox_add_days(
            'ends.first_day', 'ones.n + 10 * tens.n + 100 * hundreds.n + 1000 * thousands.n'
        ) }} as day,
        ends.last_day
    from (select {{ first }} as first_day, {{ last }} as last_day) as ends
    {%- for digit in ['ones', 'tens', 'hundreds', 'thousands'] %}
    cross join (
        {%- for n in range(10) %}
        select {{ n }} as n {{ 'union all' if not loop.last }}
        {%- endfor %}
    ) as {{ digit }}
    {%- endfor %}
) as days
where day <= last_day
{%- endmacro %}


{#- A day so many days later, as a date. -#}
{% macro labelbox_add_days(day, number) -%}
    {{ return(adapter.dispatch('labelbox_add_days', 'labelbox')(day, number)) }}
{%- endmacro %}

{% macro default__labelbox_add_days(day, number) -%}
cast(dateadd(day, {{ number }}, {{ day }}) as date)
{%- endmacro %}

{% macro duckdb__labelbox_add_days(day, number) -%}
({{ day }} + cast({{ number }} as integer))
{%- endmacro %}

{% macro postgres__labelbox_add_days(day, number) -%}
({{ day }} + cast({{ number }} as integer))
{%- endmacro %}

{#- dbt would send it to Postgres' macro. -#}
{% macro redshift__labelbox_add_days(day, number) -%}
{{ labelbox.default__labelbox_add_days(day, number) }}
{%- endmacro %}

{% macro bigquery__labelbox_add_days(day, number) -%}
date_add({{ day }}, interval {{ number }} day)
{%- endmacro %}

{% macro spark__labelbox_add_days(day, number) -%}
date_add({{ day }}, {{ number }})
{%- endmacro %}
