{#- The names of the checks that do not hold for the one row of a query. -#}
{% macro failing(query, checks) -%}
with given as (
    {{ query }}
)
{%- for name, condition in checks %}
select '{{ name }}' as failing
from given
where not coalesce({{ condition }}, false)
{%- if not loop.last %}
union all
{%- endif %}
{%- endfor %}
{%- endmacro %}


{#- A JSON value that is written out. -#}
{% macro json_of(text) -%}
{{ labelbox.labelbox_typed("'" ~ text ~ "'", 'json', labelbox.labelbox_type('text')) }}
{%- endmacro %}
