{#- What dbt asks Snowflake and fakesnow cannot answer, asked in another way. -#}

{#- Without the word `schema`, fakesnow lists the current one. -#}
{% macro snowflake__show_objects_sql(schema, max_results_per_iter=10000, watermark=none) %}
{{ return('show objects in schema ' ~ schema ~ ' limit ' ~ max_results_per_iter) }}
{% endmacro %}

{#- It has no list of functions. -#}
{% macro snowflake__list_function_relations_without_caching(schema_relation) %}
{{ return(run_query(
    "select '' as catalog_name, '' as schema_name, '' as name, 'N' as is_builtin limit 0"
)) }}
{% endmacro %}
