{#- The value below which a share of all values lies, interpolated; 0.5 is the median. -#}
{% macro labelbox_percentile(expression, share) -%}
    {{ return(adapter.dispatch('labelbox_percentile', 'labelbox')(expression, share)) }}
{%- endmacro %}

{% macro default__labelbox_percentile(expression, share) -%}
percentile_cont({{ share }}) within group (order by {{ expression }})
{%- endmacro %}

{#- There is none to group by that is exact. -#}
{% macro bigquery__labelbox_percentile(expression, share) -%}
approx_quantiles({{ expression }}, 1000)[offset({{ (share * 1000) | int }})]
{%- endmacro %}

{% macro spark__labelbox_percentile(expression, share) -%}
percentile({{ expression }}, {{ share }})
{%- endmacro %}

{#- One text for the values of several columns, the same for the same values; a null is
    not an empty text. -#}
{% macro labelbox_key(columns) -%}
{%- set parts = [] -%}
{%- for column in columns -%}
    {%- if not loop.first -%} {%- do parts.append("'|'") -%} {%- endif -%}
    {%- do parts.append(
        "coalesce(cast(" ~ column ~ " as " ~ labelbox.labelbox_type('text') ~ "), '-')"
    ) -%}
{%- endfor -%}
{{ dbt.hash(dbt.concat(parts)) }}
{%- endmacro %}
