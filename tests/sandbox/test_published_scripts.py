"""The scripts that Labelbox publishes run against the sandbox as they are.

Only address, key and project are filled in, as their readers are told to.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Sandbox, World

BULK_EXPORT = '''
import json
import time
import urllib.request, json
from graphqlclient import GraphQLClient
client = GraphQLClient('https://api.labelbox.com/graphql')
client.inject_token('Bearer <API-KEY-HERE>')

def get_export_url(project_id):
    res_str = client.execute("""
    mutation GetExportUrl($project_id: ID!){
      exportLabels(data:{
        projectId: $project_id
      }){
        downloadUrl
        createdAt
        shouldPoll
      }
    }
    """, {'project_id': project_id})
    res = json.loads(res_str)
    return res['data']['exportLabels']

def get_project_labels(project_id):
  export_job = get_export_url(project_id)
  if (export_job['shouldPoll']):
    print('Export Generating...')
    time.sleep(3)
    return get_project_labels(project_id)

  with urllib.request.urlopen(export_job['downloadUrl']) as url:
      labels = json.loads(url.read().decode())
      return labels

def get_projects():
    res_str = client.execute("""
    query GetAProjectFromOrganization {
      projects {
        id
        name
      }
    }
    """)

    res = json.loads(res_str)
    return res['data']['projects']

if __name__ == "__main__":
  project_id = get_projects()[0]['id']
  print(get_project_labels(project_id))
'''

LABEL_BY_LABEL = """
import json
from graphqlclient import GraphQLClient
client = GraphQLClient('https://api.labelbox.com/graphql')
client.inject_token('Bearer <API-KEY-HERE>')

def get_page_of_labels(project_id, skip, page_size):
  page_query = '''
    query APIGetPageOfLabels($projectId: ID!, $skip: Int!, $first: PageSize!) {
      project(where:{id: $projectId}) {
        labels(skip: $skip, first: $first){
          id
          label
          createdBy{
            id
            email
          }
          type {
            id
            name
          }
          secondsToLabel
          agreement
          dataRow {
            id
            rowData
          }
        }
      }
    }
  '''
  res = client.execute(page_query, {'projectId': project_id, 'skip': skip, 'first': page_size})
  data = json.loads(res)['data']
  return data['project']['labels'] or []

def get_all_labels(project_id, skip = 0, page_size = 100, all_labels = []):
  new_labels = get_page_of_labels(project_id, skip, page_size)
  if len(new_labels) == page_size:
    return get_all_labels(project_id, skip + page_size, page_size, all_labels + new_labels)
  else:
    return all_labels + new_labels

project_id = '<PROJECT_ID_HERE>'
all_labels = get_all_labels(project_id)
print(len(all_labels))
"""  # noqa: E501  # as it is published

# What the script printed only by number is printed whole, and nobody waits.
WITHOUT_WAITING = "import time; time.sleep = lambda _: None\n"
SHOW_ALL = "\nprint(all_labels)\n"


def output(script: str, sandbox: Sandbox, project_id: str = "") -> list[str]:
    """Run a script in a process of its own and give the lines it prints."""
    filled = script.replace("https://api.labelbox.com/graphql", sandbox.url)
    filled = filled.replace("<API-KEY-HERE>", sandbox.api_key)
    filled = filled.replace("<PROJECT_ID_HERE>", project_id)
    run = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", WITHOUT_WAITING + filled],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=30,
    )
    return run.stdout.splitlines()


def test_the_bulk_export_script(start: Callable[..., Sandbox], world: World) -> None:
    """Waits twice, then prints the labels of a project as the file has them."""
    sandbox = start(polls=2)

    *waits, labels = output(BULK_EXPORT, sandbox)

    project = world.projects[-1]  # the first of the list, which is the newest
    assert waits == ["Export Generating..."] * 2
    assert {row["ID"]: row["Created At"] for row in ast.literal_eval(labels)} == {
        label.id: f"{label.created_at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        for label in world.labels(project.id)
    }


def test_the_label_by_label_script(sandbox: Sandbox, world: World) -> None:
    """Reads every label of a project, over three pages."""
    project = world.projects[0]

    count, labels = output(LABEL_BY_LABEL + SHOW_ALL, sandbox, project.id)

    assert int(count) == len(project.labels) > 200
    assert {
        (row["id"], row["label"], row["createdBy"]["email"], row["type"]["name"])
        for row in ast.literal_eval(labels)
    } == {
        (label.id, label.label, label.created_by.email, label.type["name"])
        for label in project.labels
    }
