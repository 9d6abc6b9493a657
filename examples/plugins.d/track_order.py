"""Lets the agent say where an order is."""

from gateway import Tool, ToolError, hookimpl

ORDERS = {101: "out for delivery", 102: "in the oven"}


async def track_order(order_id: int) -> dict[str, object]:
    """Say where an order is, given the number on its receipt. Ask the caller for the number first."""
    if order_id not in ORDERS:
        raise ToolError(f"there is no order {order_id}; ask the caller to read the number again")
    return {"order_id": order_id, "status": ORDERS[order_id]}


@hookimpl
def register_tools() -> list[Tool]:
    """Bring the tool to the gateway; agents get it when their `tools` name it."""
    return [Tool.of(track_order, timeout_s=3)]
