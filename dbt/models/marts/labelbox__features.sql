with places as (
    select
        features.ontology_id,
        coalesce(features.feature_schema_id, features.id) as feature_key,
        features.id as place,
        coalesce(parents.feature_schema_id, parents.id) as parent_key,
        -- A question under an option is listed among the options.
        case
            when features.kind = 'option' and features.type is not null then 'classification'
            else features.kind
        end as kind,
        features.type as feature_type,
        coalesce(features.label, features.instructions, features.name) as name,
        features.name as machine_name,
        features.path,
        features.depth,
        features.color,
        row_number() over (
            partition by
                features.ontology_id, coalesce(features.feature_schema_id, features.id)
            order by features.depth, features.id
        ) as place_number,
        count(*) over (
            partition by
                features.ontology_id, coalesce(features.feature_schema_id, features.id)
        ) as place_count
    from {{ ref('stg_labelbox__ontology_features') }} as features
    left join {{ ref('stg_labelbox__ontology_features') }} as parents
        on features.ontology_id = parents.ontology_id
        and features.parent_id = parents.id
),

known as (
    select * from places where place_number = 1
),

annotations as (
    select * from {{ ref('labelbox__annotations') }}
    where ontology_id is not null and annotation_type <> 'segment'
),

-- A checklist has a row for each option that was chosen; a question is counted once.
exported as (
    select
        ontology_id,
        feature_key,
        feature_name as name,
        {{ dbt.concat(['label_id', "'/'", "coalesce(feature_id, annotation_id)"]) }} as instance,
        last_activity_at
    from annotations
    where feature_key is not null
    union all
    select
        ontology_id,
        answer_key as feature_key,
        answer_name as name,
        {{ dbt.concat(['label_id', "'/'", "annotation_id"]) }} as instance,
        last_activity_at
    from annotations
    where answer_key is not null
),

used as (
    select
        ontology_id,
        feature_key,
        count(distinct instance) as annotation_count,
        count(distinct name) as exported_name_count,
        max(name) as exported_name
    from exported
    group by ontology_id, feature_key
),

latest as (
    select
        ontology_id,
        feature_key,
        name,
        row_number() over (
            partition by ontology_id, feature_key
            order by
                case when last_activity_at is null then 1 else 0 end,
                last_activity_at desc,
                name
        ) as place
    from exported
),

together as (
    select distinct ontology_id, feature_key
    from (
        select ontology_id, feature_key from known
        union all
        select ontology_id, feature_key from used
    ) as keys
),

ontologies as (
    select id as ontology_id, name as ontology_name
    from {{ ref('stg_labelbox__ontologies') }}
)

select
    together.ontology_id,
    ontologies.ontology_name,
    together.feature_key,
    known.parent_key,
    known.kind,
    known.feature_type,
    coalesce(known.name, latest.name) as name,
    coalesce(known.path, latest.name) as path,
    coalesce(known.depth, 0) as depth,
    known.color,
    coalesce(known.place_count, 0) as place_count,
    coalesce(used.annotation_count, 0) as annotation_count,
    coalesce(used.exported_name_count, 0) as exported_name_count,
    coalesce(
        used.exported_name_count > 1
        or used.exported_name not in (
            coalesce(known.name, latest.name), coalesce(known.machine_name, latest.name)
        ),
        false
    ) as is_renamed,
    known.feature_key is not null as is_in_ontology
from together
left join known
    on together.ontology_id = known.ontology_id
    and together.feature_key = known.feature_key
left join used
    on together.ontology_id = used.ontology_id
    and together.feature_key = used.feature_key
left join latest
    on together.ontology_id = latest.ontology_id
    and together.feature_key = latest.feature_key
    and latest.place = 1
left join ontologies on together.ontology_id = ontologies.ontology_id
