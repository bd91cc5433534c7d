{#- What the kinds of columns of the tap are called in each warehouse. dbt's own
    type_float() is 32 bits wide in DuckDB and Databricks, and its type_string() cuts
    texts in Redshift. -#}

{% macro labelbox_type(kind) -%}
    {{ return(adapter.dispatch('labelbox_types', 'labelbox')()[kind]) }}
{%- endmacro %}

{% macro default__labelbox_types() -%}
    {{ return({
        'text': 'varchar',
        'number': 'double precision',
        'integer': 'bigint',
        'boolean': 'boolean',
        'timestamp': 'timestamp',
        'date': 'date',
        'json': 'json',
    }) }}
{%- endmacro %}

{% macro duckdb__labelbox_types() -%}
    {{ return(dict(labelbox.default__labelbox_types(), number='double')) }}
{%- endmacro %}

{% macro postgres__labelbox_types() -%}
    {{ return(dict(labelbox.default__labelbox_types(), text='text', json='jsonb')) }}
{%- endmacro %}

{% macro redshift__labelbox_types() -%}
    {{ return(dict(labelbox.default__labelbox_types(), text='varchar(65535)', json='super')) }}
{%- endmacro %}

{% macro snowflake__labelbox_types() -%}
    {{ return(dict(labelbox.default__labelbox_types(), timestamp='timestamp_ntz', json='variant')) }}
{%- endmacro %}

{% macro bigquery__labelbox_types() -%}
    {{ return(dict(
        labelbox.default__labelbox_types(),
        text='string', number='float64', integer='int64', boolean='bool'
    )) }}
{%- endmacro %}

{% macro spark__labelbox_types() -%}
    {{ return(dict(
        labelbox.default__labelbox_types(), text='string', number='double', json='string'
    )) }}
{%- endmacro %}
