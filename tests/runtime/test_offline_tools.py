"""Arguments of the offline agent's tool calls are of the types that the tool declares."""

from gateway.runtime.offline_config import ToolConfig


def test_a_number_is_written_out_where_a_string_is_declared() -> None:
    """What was heard as a number reaches a tool that declares a string as one, and others as a number."""
    tool = ToolConfig("track_order", 10, hold=False, texts=frozenset({"order_id"}))
    assert tool.typed({"order_id": 42, "count": 2, "sure": True}) == {
        "order_id": "42",
        "count": 2,
        "sure": True,
    }
