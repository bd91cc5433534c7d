{%- set query -%}
select
    {{ labelbox.labelbox_timestamp('2026-03-01 23:30:00.250') }} as sunday,
    {{ labelbox.labelbox_timestamp('2026-03-02 00:00:00') }} as monday
{%- endset -%}
{%- set date = labelbox.labelbox_type('date') -%}
{{ failing(query, [
    ('seconds', "abs(" ~ labelbox.labelbox_seconds('sunday', 'monday') ~ " - 1799.75) < 0.0001"),
    ('seconds back', "abs(" ~ labelbox.labelbox_seconds('monday', 'sunday') ~ " + 1799.75) < 0.0001"),
    ('day', labelbox.labelbox_day('sunday') ~ " = cast('2026-03-01' as " ~ date ~ ")"),
    ('week ends', labelbox.labelbox_week('sunday') ~ " = cast('2026-02-23' as " ~ date ~ ")"),
    ('week begins', labelbox.labelbox_week('monday') ~ " = cast('2026-03-02' as " ~ date ~ ")"),
    ('days later', labelbox.labelbox_add_days("cast('2026-02-27' as date)", 3) ~ " = cast('2026-03-02' as " ~ date ~ ")"),
]) }}
