# SPDX-License-Identifier: Apache-2.0
"""`kubernetes` in falco.yaml becomes all that the agent has to do with the API server, with one start and one end.

Invariant: nothing here waits for the API server, or raises because it is away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cluster import Cluster, state_of
from .reporting import Reporter
from .rules import RulesMap, namespace_and_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from ..background import Background
    from ..config.model import Kubernetes
    from .cluster import WatchState


class Link:
    """`rules` is None when no ConfigMap is named, `reporter` also when no Events are wanted."""

    def __init__(
        self, settings: Kubernetes, background: Background, wake: Callable[[], None], rules_changed: Callable[[], None]
    ) -> None:
        """Raises config.problem.SettingError."""
        self.settings = settings
        self.rules: RulesMap | None = None
        self.reporter: Reporter | None = None
        self._background = background
        self._running: list[Future[None]] = []
        self.cluster = Cluster(settings, background, wake)
        if settings.rules_configmap:
            namespace, name = namespace_and_name(settings.rules_configmap)
            self.rules = RulesMap(self.cluster.client, namespace, name, rules_changed)
            if settings.events:
                self.reporter = Reporter(self.cluster.client, background, self.rules, settings.node_name)

    def start(self) -> None:
        self.cluster.start()
        if self.rules is not None:
            self._running.append(self._background.start(self.rules.watch.run()))
        if self.reporter is not None:
            self._running.append(self._background.start(self.reporter.run()))

    def close(self) -> None:
        for one in self._running:
            one.cancel()
        self.cluster.close()

    # For any thread

    def texts(self) -> Mapping[str, str] | None:
        """Of the rules, as the API server has them; None while that is not known."""
        return None if self.rules is None else self.rules.overlay()

    def connected(self) -> bool:
        return self.rules is not None and self.rules.connected

    @property
    def problem(self) -> str:
        """Why something may be old or missing; "" when all is well."""
        return self.cluster.problem or ("" if self.rules is None else self.rules.watch.problem)

    @property
    def watches(self) -> list[WatchState]:
        rules = [] if self.rules is None else [state_of(self.rules.watch)]
        return [*self.cluster.watches, *rules]
