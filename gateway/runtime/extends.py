"""Lays agents over the agents that they extend, in the configuration as it was read.

Owns ``extends``: merging, names that lead nowhere and circles. Refuses to know any other key of an agent.
"""

from gateway.runtime.decode import nobody
from gateway.runtime.yaml_source import Node, Problems


def extend_agents(root: Node, problems: Problems) -> frozenset[str]:
    """Merge every agent of the file with those that it extends; no ``extends`` is left.

    Returns the names of agents that extend nothing that exists, or each other: what they lack may have been meant
    to come from there, so nobody should complain of it.
    """
    agents = root.get("agents")
    if agents is None or not isinstance(agents.value, dict):
        return frozenset()
    extending = _Extending(agents, problems)
    merged = {name: extending.section(name, ()) for name in agents.value}
    root.value["agents"] = Node(merged, agents.line, agents.column)
    return frozenset(extending.orphans)


class _Extending:
    def __init__(self, agents: Node, problems: Problems) -> None:
        self._agents = agents
        self._names = list(agents.value)
        self._problems = problems
        self.orphans: set[str] = set()

    def section(self, name: str, above: tuple[str, ...]) -> Node:
        """An agent's section laid over the one that it extends, and that one over its own."""
        node: Node = self._agents.value[name]
        extends = node.get("extends")
        if extends is None:
            return node
        chain = (*above, name)
        own = Node({key: below for key, below in node.items() if key != "extends"}, node.line, node.column)
        if extends.value in self._names and extends.value not in chain:
            return merge(self.section(extends.value, chain), own)
        self.orphans.update(chain)
        if extends.value in chain:
            self._circle(extends, chain[chain.index(extends.value) :], name)
        elif not extends.is_broken:
            others = [other for other in self._names if other != name]
            sentence = nobody("agent", extends, others, "define it under agents")
            self._problems.add(f"agents.{name}.extends", extends, sentence)
        return own

    def _circle(self, extends: Node, circle: tuple[str, ...], name: str) -> None:
        if name != max(circle, key=self._names.index):
            return  # each of them finds the circle; the last one in the file says it
        shown = " → ".join((*circle, circle[0]))
        self._problems.add(
            f"agents.{name}.extends", extends, f"agents extend each other in a circle ({shown}); break it"
        )


def merge(below: Node, above: Node) -> Node:
    """Lay one node over another: mappings merge key by key, everything else is replaced."""
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    merged = dict(below.value)
    for key, node in above.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, above.line, above.column)
