{#- What several marts need. -#}


{#- Counts and figures, in one type each: sums have others in some warehouses. -#}
{% macro labelbox_integer(expression) -%}
cast({{ expression }} as {{ labelbox.labelbox_type('integer') }})
{%- endmacro %}

{% macro labelbox_number(expression) -%}
cast({{ expression }} as {{ labelbox.labelbox_type('number') }})
{%- endmacro %}


{#- Who did something, as one text: the e-mail address, else the user ID. -#}
{% macro labelbox_labeler(email, user_id='null') -%}
coalesce({{ email }}, {{ user_id }}, '(unknown)')
{%- endmacro %}


{#- Whether a record of an export is of the latest export of its data row: what has another
    timestamp was deleted since. Rows of saved files have no timestamp; all of them count. -#}
{% macro labelbox_is_current(record, data_row) -%}
{{ labelbox.labelbox_activity(record) }} = {{ labelbox.labelbox_activity(data_row) }}
{%- endmacro %}

{% macro labelbox_activity(alias) -%}
coalesce({{ alias }}.last_activity_at, {{ labelbox.labelbox_timestamp('1970-01-01') }})
{%- endmacro %}


{#- The time that results are for: the variable labelbox__as_of, else the start of
    the run, which is the same for all models. -#}
{% macro labelbox_as_of() -%}
{{ labelbox.labelbox_timestamp(var('labelbox__as_of', none) or run_started_at.strftime('%Y-%m-%d %H:%M:%S')) }}
{%- endmacro %}


{#- Texts of several rows as one, in order. -#}
{% macro labelbox_list(text) -%}
    {{ return(adapter.dispatch('labelbox_list', 'labelbox')(text)) }}
{%- endmacro %}

{% macro default__labelbox_list(text) -%}
{{ dbt.listagg(text, "' '", 'order by ' ~ text) }}
{%- endmacro %}

{#- Its listagg knows no order. -#}
{% macro spark__labelbox_list(text) -%}
array_join(array_sort(collect_list({{ text }})), ' ')
{%- endmacro %}


{#- The rows of the CTE `rows` that an incremental model lacks: those that it does not have
    with this timestamp, and the latest once more. A label that was made in the very
    moment of the last export comes with the same timestamp later.

    `keys` are the columns of its key; rows of it of which `but_not` holds are made anew. -#}
{% macro labelbox_new_rows(rows, keys, but_not=none) -%}
select {{ rows }}.*
from {{ rows }}
{#- Without introspection (`dbt compile --no-introspect`) nobody knows what is there. #}
{%- if flags.INTROSPECT and is_incremental() %}
cross join (select max(last_activity_at) as latest_at from {{ this }}) as latest
left join {{ this }} as known
    on {{ labelbox.labelbox_activity('known') }} = {{ labelbox.labelbox_activity(rows) }}
    {%- for key in keys %}
    and known.{{ key }} = {{ rows }}.{{ key }}
    {%- endfor %}
    {%- if but_not %}
    and not known.{{ but_not }}
    {%- endif %}
where
    known.{{ keys[0] }} is null
    or {{ labelbox.labelbox_day(rows ~ '.last_activity_at') }}
        >= {{ labelbox.labelbox_add_days(labelbox.labelbox_day('latest.latest_at'), -1) }}
{%- endif %}
{%- endmacro %}


{#- Deletes from an incremental model what is not in the latest export of its data row. -#}
{% macro labelbox_delete_gone(stream, keys) -%}
delete from {{ this }}
where not exists (
    select 1
    from (
        select
            {%- for staged, _ in keys.items() %}
            records.{{ staged }} as staged_{{ staged }},
            {%- endfor %}
            {{ labelbox.labelbox_activity('records') }} as staged_activity_at
        from {{ ref('stg_labelbox__' ~ stream) }} as records
        inner join {{ ref('stg_labelbox__data_row_exports') }} as data_rows
            on records.project_id = data_rows.project_id
            and records.data_row_id = data_rows.data_row_id
            and {{ labelbox.labelbox_is_current('records', 'data_rows') }}
    ) as staged
    where
        {%- for staged, key in keys.items() %}
        staged_{{ staged }} = {{ key }} and
        {%- endfor %}
        staged_activity_at = coalesce(last_activity_at, {{ labelbox.labelbox_timestamp('1970-01-01') }})
)
{%- endmacro %}
