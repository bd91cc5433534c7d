{#- A query for the label to train with of each data row, as of a time.

    as_of: a timestamp as text, in UTC; by default what labelbox_as_of says.
    statuses: where in the workflow the data row has to have been then.
    least_agreement: from 0 to 1; labels without an agreement are left out then. -#}
{% macro labelbox_training_set(as_of=none, statuses=['DONE'], least_agreement=none) -%}
{%- set time = labelbox.labelbox_timestamp(as_of) if as_of else labelbox.labelbox_as_of() -%}
with data_rows as (
    select * from {{ ref('stg_labelbox__data_row_exports') }}
),

events as (
    select * from {{ ref('labelbox__workflow_events') }}
),

-- Where each data row was then. What nothing is known of is where it is now.
begun as (
    select
        project_id,
        data_row_id,
        max(case when event_at <= {{ time }} then event_number end) as event_number
    from events
    group by project_id, data_row_id
),

states as (
    select
        data_rows.project_id,
        data_rows.data_row_id,
        case
            when begun.project_id is null then data_rows.workflow_status
            else upper(events.to_step_kind)
        end as workflow_status,
        events.event_at as status_since
    from data_rows
    left join begun
        on data_rows.project_id = begun.project_id
        and data_rows.data_row_id = begun.data_row_id
    left join events
        on begun.project_id = events.project_id
        and begun.data_row_id = events.data_row_id
        and begun.event_number = events.event_number
),

labels as (
    select
        labels.*,
        case when labels.label_id = data_rows.selected_label_id then 1 else 0 end as is_winner
    from {{ ref('labelbox__labels') }} as labels
    inner join data_rows
        on labels.project_id = data_rows.project_id
        and labels.data_row_id = data_rows.data_row_id
    where labels.created_at <= {{ time }} and not labels.is_skipped
),

ranked as (
    select
        labels.*,
        row_number() over (
            partition by project_id, data_row_id
            order by is_winner desc, created_at desc, label_id desc
        ) as place
    from labels
),

versions as (
    select
        label_id,
        id as version_id,
        row_number() over (partition by label_id order by created_at desc, id desc) as place
    from {{ ref('stg_labelbox__label_versions') }}
    where created_at <= {{ time }}
),

splits as (
    select
        fields.project_id,
        fields.data_row_id,
        max(fields.option_name) as data_split
    from {{ ref('stg_labelbox__data_row_metadata') }} as fields
    inner join data_rows
        on fields.project_id = data_rows.project_id
        and fields.data_row_id = data_rows.data_row_id
        and {{ labelbox.labelbox_is_current('fields', 'data_rows') }}
    where lower(fields.schema_name) = 'split'
    group by fields.project_id, fields.data_row_id
)

select
    {{ time }} as as_of,
    ranked.project_id,
    ranked.project_name,
    ranked.data_row_id,
    ranked.external_id,
    ranked.global_key,
    ranked.dataset_id,
    ranked.batch_id,
    states.workflow_status,
    states.status_since,
    ranked.label_id,
    ranked.labeler,
    ranked.created_at as labeled_at,
    ranked.agreement,
    case when ranked.is_winner = 1 then 'consensus' else 'newest' end as selection,
    coalesce(ranked.content_last_updated_at, ranked.updated_at, ranked.created_at)
        > {{ time }} as is_changed_since,
    versions.version_id,
    splits.data_split
from ranked
inner join states
    on ranked.project_id = states.project_id
    and ranked.data_row_id = states.data_row_id
left join versions
    on ranked.label_id = versions.label_id
    and versions.place = 1
left join splits
    on ranked.project_id = splits.project_id
    and ranked.data_row_id = splits.data_row_id
where
    ranked.place = 1
    and states.workflow_status in (
        {%- for status in statuses -%}
        '{{ status }}' {{- ', ' if not loop.last }}
        {%- endfor -%}
    )
    {%- if least_agreement is not none %}
    and ranked.agreement >= {{ least_agreement }}
    {%- endif %}
{%- endmacro %}
