{%- set query -%}
select
    {{ json_of('{"text": "a \\u00e9", "number": 1.5, "whole": 3, "yes": true, "none": null, "like": "7", "in": {"Case": [{"deep": "x"}, 2]}, "list": ["a", "b"], "empty": {}}'.replace('\\u00e9', 'é')) }} as content,
    {{ json_of('null') }} as nothing
{%- endset -%}
{{ failing(query, [
    ('text', labelbox.labelbox_json_text('content', 'text') ~ " = 'a é'"),
    ('number as text', labelbox.labelbox_json_text('content', 'number') ~ " = '1.5'"),
    ('boolean as text', labelbox.labelbox_json_text('content', 'yes') ~ " = 'true'"),
    ('null as text', labelbox.labelbox_json_text('content', 'none') ~ " is null"),
    ('absent', labelbox.labelbox_json_text('content', 'other', 'one') ~ " is null"),
    ('deep', labelbox.labelbox_json_text('content', 'in', 'Case', 0, 'deep') ~ " = 'x'"),
    ('number', labelbox.labelbox_json_number('content', 'number') ~ " = 1.5"),
    ('number in list', labelbox.labelbox_json_number('content', 'in', 'Case', 1) ~ " = 2"),
    ('no number', labelbox.labelbox_json_number('content', 'text') ~ " is null"),
    ('object is no number', labelbox.labelbox_json_number('content', 'in') ~ " is null"),
    ('value', labelbox.labelbox_json_text(
        labelbox.labelbox_json_value('content', 'in'), 'Case', 0, 'deep') ~ " = 'x'"),
    ('null is no value', labelbox.labelbox_json_value('content', 'none') ~ " is null"),
    ('absent value', labelbox.labelbox_json_value('content', 'other') ~ " is null"),
    ('length', labelbox.labelbox_json_length(labelbox.labelbox_json_value('content', 'list')) ~ " = 2"),
    ('length of an object', labelbox.labelbox_json_length('content') ~ " is null"),
    ('length of null', labelbox.labelbox_json_length('nothing') ~ " is null"),
    ('null', "nothing is null"),
]) }}
