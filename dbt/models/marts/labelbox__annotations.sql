{{ config(
    materialized='incremental',
    unique_key=['project_id', 'data_row_id', 'label_id', 'annotation_id'],
    on_schema_change='append_new_columns',
    post_hook="{{ labelbox.labelbox_delete_gone('annotations', {
        'project_id': 'project_id',
        'data_row_id': 'data_row_id',
        'label_id': 'label_id',
        'annotation_id': 'annotation_id',
    }) }}",
) }}

with annotations as (
    select
        annotations.project_id,
        annotations.data_row_id,
        annotations.label_id,
        annotations.annotation_id,
        annotations.parent_annotation_id,
        case
            when annotations.annotation_kind in ('Radio', 'Checklist', 'Text') then 'answer'
            when annotations.annotation_kind = 'Segment' then 'segment'
            else 'object'
        end as annotation_type,
        annotations.annotation_kind,
        data_rows.ontology_id,
        coalesce(annotations.feature_schema_id, annotations.name) as feature_key,
        annotations.name as feature_name,
        coalesce(annotations.answer_feature_schema_id, annotations.answer_name) as answer_key,
        annotations.answer_name,
        annotations.answer_text,
        annotations.path,
        annotations.depth,
        annotations.feature_id,
        case
            when annotations.feature_id is null then annotations.annotation_id
            when annotations.answer_feature_id is null then annotations.feature_id
            else {{ dbt.concat(['annotations.feature_id', "'/'", 'annotations.answer_feature_id']) }}
        end as instance_id,
        annotations.frame,
        annotations.page_number,
        annotations.group_name,
        annotations.message_id,
        annotations.box_left,
        annotations.box_top,
        annotations.box_width,
        annotations.box_height,
        annotations.box_width * annotations.box_height as box_area,
        annotations.point_x,
        annotations.point_y,
        annotations.text_start,
        annotations.text_end,
        annotations.last_activity_at
    from {{ ref('stg_labelbox__annotations') }} as annotations
    inner join {{ ref('stg_labelbox__data_row_exports') }} as data_rows
        on annotations.project_id = data_rows.project_id
        and annotations.data_row_id = data_rows.data_row_id
        and {{ labelbox.labelbox_is_current('annotations', 'data_rows') }}
)

{{ labelbox.labelbox_new_rows(
    'annotations', ['project_id', 'data_row_id', 'label_id', 'annotation_id']
) }}
