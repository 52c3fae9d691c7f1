"""The worker: inbox row, person and memberships of one event in one transaction."""

import hashlib
import json
import os

from celery import Celery
from sqlalchemy import create_engine, text

app = Celery("tasks", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    # Confirms, as ours waits for: without them a broker's crash loses what was answered 201.
    broker_transport_options={"confirm_publish": True},
    worker_enable_remote_control=False,
    worker_send_task_events=False,
)
engine = create_engine(os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg2://"), pool_size=1)

INBOX = text(
    """INSERT INTO events (source, event_id, body_sha256, kind, organization_id, subject_id, version, delivery_id,
        attempt, received_at, recorded_at, traceparent, outcome, body)
    VALUES ('scalekit', :event_id, :hash, :kind, :organization, :subject, :version,
        :delivery, 1, now(), now(), NULL, 'applied', :body) ON CONFLICT DO NOTHING"""
)
PERSON = text(
    """INSERT INTO users AS kept (id, organization_id, email, name, given_name, family_name, user_name, dp_id,
        profile_version, groups_version, status_version)
    VALUES (:subject, :organization, :email, :name, :given, :family, :user_name, :dp_id, :version, :version, :version)
    ON CONFLICT (id) DO UPDATE SET email = excluded.email, name = excluded.name, given_name = excluded.given_name,
        family_name = excluded.family_name, user_name = excluded.user_name, dp_id = excluded.dp_id,
        profile_version = excluded.profile_version, groups_version = excluded.groups_version,
        status_version = excluded.status_version
    WHERE excluded.profile_version > kept.profile_version"""
)
LEAVE = text("DELETE FROM memberships WHERE user_id = :subject")
JOIN = text("INSERT INTO memberships (user_id, group_id) VALUES (:subject, :group) ON CONFLICT DO NOTHING")


@app.task
def apply_event(delivery: str, body: str) -> None:
    event = json.loads(body)
    data = event["data"]
    row = {
        "event_id": event["id"],
        "hash": hashlib.sha256(body.encode()).digest(),
        "kind": event["type"],
        "organization": event["organization_id"],
        "subject": data["id"],
        "version": event["occurred_at"] + " 0 " + event["id"],
        "delivery": delivery,
        "body": body.encode(),
        "email": data.get("email"),
        "name": data.get("name"),
        "given": data.get("given_name"),
        "family": data.get("family_name"),
        "user_name": data.get("preferred_username"),
        "dp_id": data.get("dp_id"),
    }
    with engine.begin() as connection:
        connection.execute(INBOX, row)
        connection.execute(PERSON, row)
        connection.execute(LEAVE, row)
        connection.execute(JOIN, [{"subject": data["id"], "group": group["id"]} for group in data["groups"]])
