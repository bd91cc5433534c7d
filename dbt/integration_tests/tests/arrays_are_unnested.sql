{%- set query -%}
select
    count(*) as items,
    max(case when position = 0 and key = 1 then text end) as first_text,
    max(case when position = 1 and key = 1 then deep end) as second_deep,
    max(case when key <> 1 then 1 else 0 end) as others
from (
    select
        source.key,
        {{ labelbox.labelbox_item_position('item') }} as position,
        {{ labelbox.labelbox_item_text('item') }} as text,
        {{ labelbox.labelbox_json_text(labelbox.labelbox_item('item'), 'a') }} as deep
    from (
        select 1 as key, {{ json_of('["x", {"a": "y"}]') }} as list
        union all
        select 2 as key, {{ json_of('[]') }} as list
        union all
        select 3 as key, {{ json_of('null') }} as list
        union all
        select 4 as key, {{ json_of('{"no": "list"}') }} as list
    ) as source
    {{ labelbox.labelbox_unnest('source.list', 'item') }}
) as unnested
{%- endset -%}
{{ failing(query, [
    ('items', "items = 2"),
    ('text', "first_text = 'x'"),
    ('object', "second_deep = 'y'"),
    ('no array has no items', "others = 0"),
]) }}
