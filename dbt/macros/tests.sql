{#- A generic test: no two rows have the same key, and every row has all of it. -#}
{% test labelbox_key(model, columns) %}
{%- set names = [] -%}
{%- for column in columns -%} {%- do names.append(labelbox.labelbox_name(column)) -%} {%- endfor %}
select {{ names | join(', ') }}
from {{ model }}
group by {{ names | join(', ') }}
having count(*) > 1
{%- for name in names %} or {{ name }} is null {%- endfor %}
{% endtest %}
