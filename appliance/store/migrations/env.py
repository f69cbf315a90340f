"""Runs the migrations on the connection that `appliance.store.database` hands over; there is no other way in."""

from __future__ import annotations

from alembic import context

from appliance.store.tables import Call

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Call.metadata,
    render_as_batch=True,  # SQLite changes columns only by copying the table
    transaction_per_migration=False,
)
context.run_migrations()
