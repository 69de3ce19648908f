"""What the clerk does to keep queue and breakers in order: see `atlas.chores`."""

from atlas import items
from atlas.resilience import breakers, crew, quotas
from atlas.stages.context import Context


def put_off_resting(ctx: Context) -> None:
    """Let items of hosts that rest for long come due when the rest is over."""
    while items.put_off_resting(ctx.engine, now=ctx.clock(), delay_seconds=ctx.settings.host_delay_seconds):
        pass


def forget_breakers(ctx: Context) -> None:
    """Remove breakers and quotas that say nothing any more."""
    ctx.write(lambda conn: breakers.forget(conn, now=ctx.clock()))
    ctx.write(lambda conn: quotas.forget(conn, now=ctx.clock()))


def learn_loads(ctx: Context) -> None:
    """Learn what the last hour brought."""
    ctx.write(lambda conn: crew.learn(conn, ctx.clock()))
