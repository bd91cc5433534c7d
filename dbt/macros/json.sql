{#- JSON, which each warehouse reads in its own way. Columns are those of staging: JSON of
    the warehouse's type (text in Databricks), and null where the value is JSON's null. -#}


{#- The text, number or boolean at a path of names and places, as text. -#}
{% macro labelbox_json_text(column) -%}
    {{ return(adapter.dispatch('labelbox_json_text', 'labelbox')(column, varargs)) }}
{%- endmacro %}

{% macro default__labelbox_json_text(column, path) -%}
({{ column }} ->> '{{ labelbox.labelbox_json_path(path, quoted=true) }}')
{%- endmacro %}

{% macro postgres__labelbox_json_text(column, path) -%}
({{ column }} #>> '{{ labelbox.labelbox_json_braces(path) }}')
{%- endmacro %}

{% macro snowflake__labelbox_json_text(column, path) -%}
cast({{ labelbox.labelbox_get_path(column, path) }} as varchar)
{%- endmacro %}

{% macro bigquery__labelbox_json_text(column, path) -%}
json_value({{ column }}, '{{ labelbox.labelbox_json_path(path) }}')
{%- endmacro %}

{% macro spark__labelbox_json_text(column, path) -%}
get_json_object({{ column }}, '{{ labelbox.labelbox_json_path(path) }}')
{%- endmacro %}

{#- Not by SUPER's dots, which read names in lower case unless the session says otherwise. -#}
{% macro redshift__labelbox_json_text(column, path) -%}
{%- set found = namespace(text='json_serialize(' ~ column ~ ')') -%}
{%- for step in path -%}
    {%- if step is number -%}
        {%- set found.text = 'json_extract_array_element_text(' ~ found.text ~ ', ' ~ step ~ ', true)' -%}
    {%- else -%}
        {%- set found.text = 'json_extract_path_text(' ~ found.text ~ ", '" ~ step ~ "', true)" -%}
    {%- endif -%}
{%- endfor -%}
nullif({{ found.text }}, '')
{%- endmacro %}


{#- The number at a path; null where there is none, or something else. -#}
{% macro labelbox_json_number(column) -%}
    {{ return(adapter.dispatch('labelbox_json_number', 'labelbox')(column, varargs)) }}
{%- endmacro %}

{% macro default__labelbox_json_number(column, path) -%}
try_cast({{ labelbox.labelbox_json_text(column, *path) }} as {{ labelbox.labelbox_type('number') }})
{%- endmacro %}

{% macro postgres__labelbox_json_number(column, path) -%}
{%- set place = labelbox.labelbox_json_braces(path) -%}
case
    when jsonb_typeof({{ column }} #> '{{ place }}') = 'number'
        then ({{ column }} #>> '{{ place }}')::double precision
end
{%- endmacro %}

{% macro snowflake__labelbox_json_number(column, path) -%}
try_to_double({{ labelbox.labelbox_json_text(column, *path) }})
{%- endmacro %}

{% macro bigquery__labelbox_json_number(column, path) -%}
safe_cast({{ labelbox.labelbox_json_text(column, *path) }} as float64)
{%- endmacro %}

{% macro redshift__labelbox_json_number(column, path) -%}
{%- set value = labelbox.labelbox_json_text(column, *path) -%}
case
    when {{ value }} ~ '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$'
        then cast({{ value }} as double precision)
end
{%- endmacro %}


{#- The object, array or anything else at a path, as JSON; null where it is JSON's null. -#}
{% macro labelbox_json_value(column) -%}
    {{ return(adapter.dispatch('labelbox_json_value', 'labelbox')(column, varargs)) }}
{%- endmacro %}

{% macro default__labelbox_json_value(column, path) -%}
nullif({{ column }} -> '{{ labelbox.labelbox_json_path(path, quoted=true) }}', cast('null' as json))
{%- endmacro %}

{% macro postgres__labelbox_json_value(column, path) -%}
nullif({{ column }} #> '{{ labelbox.labelbox_json_braces(path) }}', 'null'::jsonb)
{%- endmacro %}

{% macro snowflake__labelbox_json_value(column, path) -%}
strip_null_value({{ labelbox.labelbox_get_path(column, path) }})
{%- endmacro %}

{% macro bigquery__labelbox_json_value(column, path) -%}
{%- set value = "json_query(" ~ column ~ ", '" ~ labelbox.labelbox_json_path(path) ~ "')" -%}
if(json_type({{ value }}) = 'null', null, {{ value }})
{%- endmacro %}

{% macro spark__labelbox_json_value(column, path) -%}
get_json_object({{ column }}, '{{ labelbox.labelbox_json_path(path) }}')
{%- endmacro %}

{% macro redshift__labelbox_json_value(column, path) -%}
{{ column }}
{%- for step in path -%}
    {%- if step is number -%} [{{ step }}] {%- else -%} ."{{ step }}" {%- endif -%}
{%- endfor -%}
{%- endmacro %}


{#- The number of items of an array; null if it is none. -#}
{% macro labelbox_json_length(column) -%}
    {{ return(adapter.dispatch('labelbox_json_length', 'labelbox')(column)) }}
{%- endmacro %}

{% macro default__labelbox_json_length(column) -%}
case when json_type({{ column }}) = 'ARRAY' then json_array_length({{ column }}) end
{%- endmacro %}

{% macro postgres__labelbox_json_length(column) -%}
case when jsonb_typeof({{ column }}) = 'array' then jsonb_array_length({{ column }}) end
{%- endmacro %}

{% macro snowflake__labelbox_json_length(column) -%}
array_size({{ column }})
{%- endmacro %}

{% macro bigquery__labelbox_json_length(column) -%}
array_length(json_query_array({{ column }}))
{%- endmacro %}

{% macro spark__labelbox_json_length(column) -%}
json_array_length({{ column }})
{%- endmacro %}

{% macro redshift__labelbox_json_length(column) -%}
get_array_length({{ column }})
{%- endmacro %}


{#- What to write after a FROM, to have a row for each item of an array. Rows without
    items are not there any more. -#}
{% macro labelbox_unnest(column, alias) -%}
    {{ return(adapter.dispatch('labelbox_unnest', 'labelbox')(column, alias)) }}
{%- endmacro %}

{% macro default__labelbox_unnest(column, alias) -%}
cross join lateral (
    select
        unnest(cast({{ column }} as json[])) as value,
        unnest(range(cast(json_array_length({{ column }}) as bigint))) as position
    where json_type({{ column }}) = 'ARRAY'
) as {{ alias }}
{%- endmacro %}

{% macro postgres__labelbox_unnest(column, alias) -%}
cross join lateral jsonb_array_elements(
    case when jsonb_typeof({{ column }}) = 'array' then {{ column }} end
) with ordinality as {{ alias }} (value, ordinality)
{%- endmacro %}

{% macro snowflake__labelbox_unnest(column, alias) -%}
, lateral flatten(input => iff(is_array({{ column }}), {{ column }}, null)) as {{ alias }}
{%- endmacro %}

{% macro bigquery__labelbox_unnest(column, alias) -%}
cross join unnest(array(
    select as struct value, position
    from unnest(json_query_array({{ column }})) as value with offset as position
)) as {{ alias }}
{%- endmacro %}

{% macro spark__labelbox_unnest(column, alias) -%}
lateral view posexplode(from_json({{ column }}, 'array<string>')) {{ alias }} as position, value
{%- endmacro %}

{% macro redshift__labelbox_unnest(column, alias) -%}
, {{ column }} as {{ alias }} at {{ alias }}_position
{%- endmacro %}


{#- The item of labelbox_unnest, as JSON. -#}
{% macro labelbox_item(alias) -%}
    {{ return(adapter.dispatch('labelbox_item', 'labelbox')(alias)) }}
{%- endmacro %}

{% macro default__labelbox_item(alias) -%}
{{ alias }}.value
{%- endmacro %}

{% macro redshift__labelbox_item(alias) -%}
{{ alias }}
{%- endmacro %}


{#- Its place, from 0. -#}
{% macro labelbox_item_position(alias) -%}
    {{ return(adapter.dispatch('labelbox_item_position', 'labelbox')(alias)) }}
{%- endmacro %}

{% macro default__labelbox_item_position(alias) -%}
{{ alias }}.position
{%- endmacro %}

{% macro postgres__labelbox_item_position(alias) -%}
({{ alias }}.ordinality - 1)
{%- endmacro %}

{% macro snowflake__labelbox_item_position(alias) -%}
{{ alias }}.index
{%- endmacro %}

{% macro redshift__labelbox_item_position(alias) -%}
{{ alias }}_position
{%- endmacro %}


{#- An item that is text, as text. -#}
{% macro labelbox_item_text(alias) -%}
    {{ return(adapter.dispatch('labelbox_item_text', 'labelbox')(alias)) }}
{%- endmacro %}

{% macro default__labelbox_item_text(alias) -%}
{{ labelbox.labelbox_json_text(labelbox.labelbox_item(alias)) }}
{%- endmacro %}

{#- from_json has taken off the quotes. -#}
{% macro spark__labelbox_item_text(alias) -%}
{{ alias }}.value
{%- endmacro %}

{% macro redshift__labelbox_item_text(alias) -%}
cast({{ alias }} as varchar)
{%- endmacro %}


{#- Paths, as each warehouse writes them. -#}
{% macro labelbox_json_path(path, quoted=false) -%}
$
{%- for step in path -%}
    {%- if step is number -%} [{{ step }}]
    {%- elif quoted -%} ."{{ step }}"
    {%- else -%} .{{ step }}
    {%- endif -%}
{%- endfor -%}
{%- endmacro %}

{% macro labelbox_json_braces(path) -%}
{ {%- for step in path -%} "{{ step }}" {%- if not loop.last -%} , {%- endif -%} {%- endfor -%} }
{%- endmacro %}

{#- Snowflake's. -#}
{% macro labelbox_get_path(column, path) -%}
{%- if path -%}
get_path({{ column }}, '
{%- for step in path -%}
    {%- if step is number -%} [{{ step }}]
    {%- else -%} {{ '.' if not loop.first }}"{{ step }}"
    {%- endif -%}
{%- endfor -%} ')
{%- else -%}
{{ column }}
{%- endif -%}
{%- endmacro %}
