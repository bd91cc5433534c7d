{{ config(
    materialized='incremental',
    unique_key=['project_id', 'data_row_id', 'event_number'],
    on_schema_change='append_new_columns',
    post_hook="{{ labelbox.labelbox_delete_gone('workflow_history', {
        'project_id': 'project_id',
        'data_row_id': 'data_row_id',
        'sequence': 'event_number',
    }) }}",
) }}

with steps as (
    select
        id as step_id,
        case
            when upper(queue_type) like '%REWORK%' then 'in_rework'
            when upper(queue_type) like '%REVIEW%' then 'in_review'
            when upper(queue_type) like '%DONE%' then 'done'
            when upper(queue_type) like '%LABELING%' then 'to_label'
            else 'other'
        end as step_kind
    from {{ ref('stg_labelbox__task_queues') }}
),

history as (
    select
        history.project_id,
        history.data_row_id,
        history.sequence as event_number,
        history.action,
        history.created_at as event_at,
        history.created_by_email as actor,
        history.previous_task_queue_id as from_step_id,
        history.previous_task_queue_name as from_step,
        history.next_task_queue_id as to_step_id,
        history.next_task_queue_name as to_step,
        -- What is done has no next step. A step that is no longer there has no kind.
        case
            when coalesce(history.next_task_queue_id, history.next_task_queue_name) is null
                then 'done'
            when steps.step_kind is not null then steps.step_kind
            when lower(history.action) in ('reject', 'rework') then 'in_rework'
            else 'other'
        end as to_step_kind,
        lag(history.created_at) over (
            partition by history.project_id, history.data_row_id order by history.sequence
        ) as previous_event_at,
        lead(history.created_at) over (
            partition by history.project_id, history.data_row_id order by history.sequence
        ) as next_event_at,
        row_number() over (
            partition by history.project_id, history.data_row_id order by history.sequence desc
        ) as place_from_end,
        history.last_activity_at
    from {{ ref('stg_labelbox__workflow_history') }} as history
    inner join {{ ref('stg_labelbox__data_row_exports') }} as data_rows
        on history.project_id = data_rows.project_id
        and history.data_row_id = data_rows.data_row_id
        and {{ labelbox.labelbox_is_current('history', 'data_rows') }}
    left join steps on history.next_task_queue_id = steps.step_id
),

events as (
    select
        project_id,
        data_row_id,
        event_number,
        action,
        event_at,
        {{ labelbox.labelbox_day('event_at') }} as date_day,
        actor,
        from_step_id,
        from_step,
        to_step_id,
        case when to_step_kind = 'done' then coalesce(to_step, 'Done') else to_step end as to_step,
        to_step_kind,
        to_step_kind = 'in_rework' as is_sent_to_rework,
        place_from_end = 1 as is_latest,
        {{ labelbox.labelbox_seconds('previous_event_at', 'event_at') }} as seconds_before,
        {{ labelbox.labelbox_seconds('event_at', 'next_event_at') }} as seconds_after,
        last_activity_at
    from history
)

{{ labelbox.labelbox_new_rows(
    'events', ['project_id', 'data_row_id', 'event_number'], but_not="to_step_kind = 'other'"
) }}
