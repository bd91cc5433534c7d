{#- A generic test: every row has its partner in another model, by columns of the same
    names. -#}
{% test labelbox_relationship(model, columns, to) %}
select records.*
from {{ model }} as records
left join {{ to }} as partners
    on {% for column in columns -%}
    records.{{ column }} = partners.{{ column }} {{ 'and ' if not loop.last }}
    {%- endfor %}
where partners.{{ columns[0] }} is null
{% endtest %}
