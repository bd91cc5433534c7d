with projects as (
    select id as project_id, name as project_name, ontology_id
    from {{ ref('stg_labelbox__projects') }}
),

features as (
    select * from {{ ref('labelbox__features') }}
),

annotations as (
    select
        annotations.*,
        labels.project_name,
        labels.is_selected
    from {{ ref('labelbox__annotations') }} as annotations
    inner join {{ ref('labelbox__labels') }} as labels
        on annotations.project_id = labels.project_id
        and annotations.data_row_id = labels.data_row_id
        and annotations.label_id = labels.label_id
    where annotations.annotation_type <> 'segment' and annotations.feature_key is not null
),

-- What could have been drawn or chosen: an option under its question, all else by itself.
possible as (
    select
        projects.project_id,
        projects.project_name,
        projects.ontology_id,
        case when features.kind = 'tool' then 'object' else 'answer' end as annotation_type,
        case when features.kind = 'option' then features.parent_key else features.feature_key end
            as feature_key,
        case when features.kind = 'option' then features.feature_key else '' end as answer_key,
        null as feature_name,
        null as answer_name,
        0 as annotation_count,
        0 as label_count,
        0 as data_row_count,
        0 as selected_annotation_count
    from projects
    inner join features on projects.ontology_id = features.ontology_id
    where
        features.is_in_ontology
        and (
            features.kind in ('tool', 'option')
            or (features.kind = 'classification' and features.feature_type = 'text')
        )
),

used as (
    select
        project_id,
        max(project_name) as project_name,
        max(ontology_id) as ontology_id,
        max(annotation_type) as annotation_type,
        feature_key,
        coalesce(answer_key, '') as answer_key,
        max(feature_name) as feature_name,
        max(answer_name) as answer_name,
        count(distinct {{ dbt.concat(['label_id', "'/'", 'instance_id']) }}) as annotation_count,
        count(distinct label_id) as label_count,
        count(distinct data_row_id) as data_row_count,
        count(distinct case
            when is_selected then {{ dbt.concat(['label_id', "'/'", 'instance_id']) }}
        end) as selected_annotation_count
    from annotations
    group by project_id, feature_key, coalesce(answer_key, '')
),

counted as (
    select
        project_id,
        feature_key,
        answer_key,
        max(project_name) as project_name,
        max(ontology_id) as ontology_id,
        max(annotation_type) as annotation_type,
        max(feature_name) as feature_name,
        max(answer_name) as answer_name,
        {{ labelbox.labelbox_integer('sum(annotation_count)') }} as annotation_count,
        {{ labelbox.labelbox_integer('sum(label_count)') }} as label_count,
        {{ labelbox.labelbox_integer('sum(data_row_count)') }} as data_row_count,
        {{ labelbox.labelbox_integer('sum(selected_annotation_count)') }} as selected_annotation_count
    from (
        select
            project_id, project_name, ontology_id, annotation_type, feature_key, answer_key,
            cast(feature_name as {{ labelbox.labelbox_type('text') }}) as feature_name,
            cast(answer_name as {{ labelbox.labelbox_type('text') }}) as answer_name,
            annotation_count, label_count, data_row_count, selected_annotation_count
        from possible
        union all
        select
            project_id, project_name, ontology_id, annotation_type, feature_key, answer_key,
            feature_name, answer_name,
            annotation_count, label_count, data_row_count, selected_annotation_count
        from used
    ) as classes
    group by project_id, feature_key, answer_key
)

select
    counted.project_id,
    counted.project_name,
    counted.annotation_type,
    counted.feature_key,
    coalesce(features.name, counted.feature_name) as feature_name,
    counted.answer_key,
    coalesce(options.name, counted.answer_name) as answer_name,
    counted.annotation_count,
    counted.label_count,
    counted.data_row_count,
    counted.selected_annotation_count,
    {{ labelbox.labelbox_number('counted.annotation_count') }} / nullif(sum(counted.annotation_count) over (
        partition by
            counted.project_id,
            counted.annotation_type,
            case when counted.annotation_type = 'answer' then counted.feature_key end
    ), 0) as share
from counted
left join features
    on counted.ontology_id = features.ontology_id
    and counted.feature_key = features.feature_key
left join features as options
    on counted.ontology_id = options.ontology_id
    and counted.answer_key = options.feature_key
