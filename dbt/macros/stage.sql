{#- The rows of a stream, with every column that it can have: under its name, in its type.
    Of a table that is not there, no rows; of a column that is not there, nulls. -#}
{% macro labelbox_stage(stream, columns, selected_by_default=true) -%}
{%- set relation = source('labelbox', stream) -%}
{%- set found = labelbox.labelbox_found_columns(stream, relation, selected_by_default) if execute else none -%}
{%- set deleted = var('labelbox_deleted_column', '_sdc_deleted_at') | lower -%}
select
{%- for name, kind in columns %}
    {% if found is none -%}
        {{ labelbox.labelbox_typed(labelbox.labelbox_name(name), kind, kind) }}
    {%- elif name in found -%}
        {{ labelbox.labelbox_typed(adapter.quote(found[name].name), kind, found[name].data_type | lower) }}
    {%- else -%}
        cast(null as {{ labelbox.labelbox_type(kind) }})
    {%- endif %} as {{ labelbox.labelbox_name(name) }}
    {%- if not loop.last -%} , {%- endif -%}
{%- endfor %}
{%- if found == {} %}
limit 0
{%- else %}
from {{ relation }}
{%- if found is not none and deleted in found %}
where {{ adapter.quote(found[deleted].name) }} is null
{%- endif %}
{%- endif %}
{% endmacro %}


{#- The columns of a table, by their names in lower case. None if the warehouse may not be
    asked (`dbt compile --no-introspect`): then it has all. Empty if there is no table,
    which is an error only if the switch says that there is one. -#}
{% macro labelbox_found_columns(stream, relation, selected_by_default) -%}
{%- set using = var('labelbox__using_' ~ stream, none) -%}
{%- if using is not none and not using -%}
    {{ return({}) }}
{%- elif not flags.INTROSPECT -%}
    {{ return(none) }}
{%- endif -%}
{%- set table = load_relation(relation) -%}
{%- if table is none -%}
    {%- set told = 'No table ' ~ relation ~ ': ' -%}
    {%- set advice = 'select the stream ' ~ stream ~ ', set labelbox_schema if it is '
        ~ 'elsewhere, or labelbox__using_' ~ stream ~ ' to false.' -%}
    {%- if using or not adapter.check_schema_exists(relation.database, relation.schema) -%}
        {{ exceptions.raise_compiler_error(told ~ advice) }}
    {%- endif -%}
    {%- if selected_by_default -%}
        {%- do exceptions.warn(told ~ 'its model has no rows; ' ~ advice) -%}
    {%- endif -%}
    {{ return({}) }}
{%- endif -%}
{%- set found = {} -%}
{%- for column in adapter.get_columns_in_relation(table) -%}
    {%- do found.update({column.name | lower: column}) -%}
{%- endfor -%}
{{ return(found) }}
{%- endmacro %}


{#- The name of a column, quoted if SQL reserves the word. -#}
{% macro labelbox_name(name) -%}
{{ adapter.quote(name) if name == 'order' else name }}
{%- endmacro %}


{#- A value of a table in the type of its kind.

    `found` is what the warehouse calls the type that it has there. Timestamps with a time
    zone become those of UTC; JSON that came as text, array or struct becomes JSON, and
    JSON's null becomes null. -#}
{% macro labelbox_typed(value, kind, found) -%}
{%- if kind == 'json' -%}
    {{ adapter.dispatch('labelbox_as_json', 'labelbox')(value, found) }}
{%- elif kind == 'timestamp' -%}
    {{ adapter.dispatch('labelbox_as_timestamp', 'labelbox')(value, found) }}
{%- else -%}
    cast({{ value }} as {{ labelbox.labelbox_type(kind) }})
{%- endif -%}
{%- endmacro %}


{% macro default__labelbox_as_timestamp(value, found) -%}
{%- if 'with time zone' in found or found == 'timestamptz' -%}
({{ value }} at time zone 'UTC')
{%- else -%}
cast({{ value }} as timestamp)
{%- endif -%}
{%- endmacro %}

{% macro snowflake__labelbox_as_timestamp(value, found) -%}
{%- if 'tz' in found and 'ntz' not in found -%}
cast(convert_timezone('UTC', {{ value }}) as timestamp_ntz)
{%- else -%}
cast({{ value }} as timestamp_ntz)
{%- endif -%}
{%- endmacro %}

{% macro bigquery__labelbox_as_timestamp(value, found) -%}
cast({{ value }} as timestamp)
{%- endmacro %}

{% macro spark__labelbox_as_timestamp(value, found) -%}
cast({{ value }} as timestamp)
{%- endmacro %}


{% macro default__labelbox_as_json(value, found) -%}
{%- set is_text = 'char' in found or found in ['json', 'text', 'string'] -%}
{%- set json = 'cast(' ~ value ~ ' as json)' if is_text else 'to_json(' ~ value ~ ')' -%}
nullif({{ json }}, cast('null' as json))
{%- endmacro %}

{% macro postgres__labelbox_as_json(value, found) -%}
{%- set is_array = found == 'array' or found.endswith('[]') -%}
nullif({{ 'to_jsonb(' ~ value ~ ')' if is_array else value ~ '::jsonb' }}, 'null'::jsonb)
{%- endmacro %}

{% macro snowflake__labelbox_as_json(value, found) -%}
{%- set is_text = 'char' in found or found in ['text', 'string'] -%}
strip_null_value({{ 'try_parse_json(' ~ value ~ ')' if is_text else 'to_variant(' ~ value ~ ')' }})
{%- endmacro %}

{% macro bigquery__labelbox_as_json(value, found) -%}
{%- if found == 'json' -%}
{%- set json = value -%}
{%- elif found == 'string' -%}
{%- set json = "safe.parse_json(" ~ value ~ ", wide_number_mode => 'round')" -%}
{%- else -%}
{%- set json = 'to_json(' ~ value ~ ')' -%}
{%- endif -%}
if(json_type({{ json }}) = 'null', null, {{ json }})
{%- endmacro %}

{% macro spark__labelbox_as_json(value, found) -%}
nullif({{ value if found in ['string', 'json'] else 'to_json(' ~ value ~ ')' }}, 'null')
{%- endmacro %}

{% macro redshift__labelbox_as_json(value, found) -%}
{{ 'json_parse(' ~ value ~ ')' if 'char' in found or found == 'text' else value }}
{%- endmacro %}
