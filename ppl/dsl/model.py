"""The model: decorated functions become nodes of a graph.

A function's name is the node, its required arguments are the parents, what it returns is the mechanism.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from ..errors import ModelError, QueryError, closest
from ..graph import Graph, Node, Parent, Plate
from ..graph.closure import place
from ..graph.surgery import counterfactual, include, intervene
from .body import read_body

__all__ = ["Model"]

F = TypeVar("F", bound=Callable[..., Any])


class Model:
    """A generative model that is written as small functions and read as a DAG.

    Args:
        name: How the model is called in pictures, plans and errors.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> garden = ppl.Model("garden")
        >>> @garden.latent
        ... def rain():
        ...     return Bernoulli(0.2)
        >>> @garden.observed
        ... def wet(rain):
        ...     return Bernoulli([0.1, 0.9][rain])
        >>> ppl.infer(garden, {"wet": 1})["rain"].probs
        tensor([0.3077, 0.6923], dtype=torch.float64)
    """

    def __init__(self, name: str = "model", graph: Graph | None = None):
        self.graph = Graph(str(name)) if graph is None else graph

    @property
    def name(self) -> str:
        """The model's name."""
        return self.graph.name

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {len(self.graph)} nodes)"

    def __str__(self) -> str:
        from ..graph.story import story

        return story(self.graph, self._kinds())

    def _repr_html_(self) -> str:
        from ..html import printed

        return printed(self)

    # -- declaring -------------------------------------------------------------------------------

    def plate(
        self,
        name: str,
        size: int | None = None,
        *,
        ordered: bool = False,
        of: Plate | Iterable[Plate] = (),
    ) -> Plate:
        """Repetition: nodes declared with `plate=` it have one value for each member.

        Args:
            name: Its name; a body may take it as an argument and gets the member's index.
            size: The number of members; without it the data decide.
            ordered: Whether members follow one another: bodies may ask for `previous`.
            of: Long format: the data hold an integer column for each of these plates.

        Raises:
            ModelError: If the name is taken, the size is not a positive integer, or `of` names no plate of this model.
        """
        self._new_name(name)
        if size is not None and (isinstance(size, bool) or int(size) != size or size < 1):
            raise ModelError(
                f"Plate '{name}' has size {size!r}; it must be a positive integer, or None."
            )
        pointed = (of,) if isinstance(of, Plate) else tuple(of)
        for plate in pointed:
            self._known_plate(plate, f"plate '{name}'")
        if ordered and pointed:
            raise ModelError(f"Plate '{name}' cannot be both ordered and in long format (of=).")
        made = Plate(
            name, None if size is None else int(size), bool(ordered), tuple(p.name for p in pointed)
        )
        self.graph = self.graph.with_plate(made)
        return made

    def theta(self, function: F | None = None, **options: Any) -> Any:
        """θ: a prior variable, reported by `infer`. See `Model.latent` for the options."""
        return self._decorate("theta", function, options)

    def nuisance(self, function: F | None = None, **options: Any) -> Any:
        """η: a prior variable that `infer` integrates out unless it is asked for."""
        return self._decorate("nuisance", function, options)

    def latent(self, function: F | None = None, **options: Any) -> Any:
        """Z: a variable that nobody sees, integrated out unless it is asked for.

        Every decorator takes the same options, as `@model.latent(plate=row)` or bare as `@model.latent`.

        Args:
            name: The node's name, if not the function's.
            parents: Edges spelled out: argument to node name, or to `ppl.previous(name)`.
            plate: A plate or several: the body describes one member.
            over: An plate whose members one call returns all at once, along the leading axis.
            start: The body of the first member of an ordered plate, for bodies that ask for `previous`.
            states: Labels for the values of a finite node, in increasing order of the values.
            outputs: Names of what a body that returns a dict returns: nodes `name.output`.
            support: The support of a prior that can only be sampled, a `torch.distributions.constraints` object.
            vectorized: Promise that the body takes and returns one leading axis of draws, with independent noise.

        Returns:
            The function itself, unchanged.

        Raises:
            ModelError: For an unknown parent, a name that is taken, or options that contradict one another.
        """
        return self._decorate("latent", function, options)

    def observed(self, function: F | None = None, **options: Any) -> Any:
        """X: a variable that an observation may fix. See `Model.latent` for the options."""
        return self._decorate("observed", function, options)

    def deterministic(self, function: F | None = None, **options: Any) -> Any:
        """A pure function of its parents; finite engines look through it."""
        return self._decorate("deterministic", function, options)

    def summary(self, function: F | None = None, **options: Any) -> Any:
        """A function of observed nodes by which simulations are compared with data, instead of these nodes.

        Engines that know the density look at the observed nodes themselves.

        Example:
            >>> import ppl
            >>> from ppl.distributions import Normal
            >>> m = ppl.Model("m")
            >>> @m.theta
            ... def level(): return Normal(0, 1)
            >>> @m.observed
            ... def y(level, rng): return level + rng.normal(size=20)
            >>> @m.summary
            ... def middle(y): return y.median()
        """
        return self._decorate("summary", function, options)

    def input(self, function: F | str | None = None, **options: Any) -> Any:
        """Known and never random: a covariate, a time, a design, given together with the observation.

        `model.input("x", plate=row)` declares one without a range; a body that returns a distribution is the range for
        which amortised engines prepare.
        """
        if isinstance(function, str):
            name = function
            plates, over = self._plates(options, name)
            if options:
                raise ModelError(f"Input '{name}' does not take '{next(iter(options))}'.")
            self._new_name(name)
            self.graph = self.graph.with_node(Node(name, "input", plates=plates, over=over))
            return None
        return self._decorate("input", function, options)

    def _decorate(self, role: str, function: F | None, options: dict[str, Any]) -> Any:
        if function is None:
            return lambda given: self._declare(role, given, dict(options))
        if not callable(function):
            raise ModelError(f"@model.{role} decorates a function; it was given {function!r}.")
        return self._declare(role, function, options)

    def _declare(self, role: str, function: F, options: dict[str, Any]) -> F:
        where = place(function)
        name = str(options.pop("name", None) or getattr(function, "__name__", "node"))
        if name == "<lambda>":
            raise ModelError(f"A lambda has no name ({where}): write @model.{role}(name=...).")
        self._new_name(name, where)
        plates, over = self._plates(options, name)
        spelled = options.pop("parents", None)
        start = options.pop("start", None)
        states = options.pop("states", None)
        outputs = tuple(options.pop("outputs", ()))
        support = options.pop("support", None)
        vectorized = bool(options.pop("vectorized", False))
        if options:
            wrong = next(iter(options))
            known = (
                "name",
                "parents",
                "plate",
                "over",
                "start",
                "states",
                "outputs",
                "support",
                "vectorized",
            )
            raise ModelError(f"'{name}' ({where}) has an option '{wrong}'.{closest(wrong, known)}")

        def resolve(argument: str, meant: str) -> Parent:
            return self._edge(argument, meant, name, where, plates, over)

        summary = role == "summary"
        if summary:
            role = "deterministic"
        node = Node(
            name,
            role,
            summary=summary,
            body=read_body(function, name, resolve, spelled, vectorized),
            start=None if start is None else read_body(start, name, resolve),
            plates=plates,
            over=over,
            states=None if states is None else tuple(states),
            support=support,
            outputs=outputs,
            where=where,
        )
        self._check_chain(node)
        if summary:
            self._check_summary(node)
        self.graph = self.graph.with_node(node)
        for position, output in enumerate(outputs):
            self._new_name(f"{name}.{output}", where)
            pick = Parent("value", name)
            self.graph = self.graph.with_node(
                Node(
                    f"{name}.{output}",
                    role,
                    body=replace(
                        read_body(function, name, resolve, spelled), parents=(pick,), rng=False
                    ),
                    plates=plates,
                    over=over,
                    picks=position,
                    where=where,
                )
            )
        return function

    def _edge(self, argument, meant, child, where, plates, over) -> Parent:
        if meant in self.graph.plates:
            if meant in plates:
                return Parent(argument, meant, "index")
            mine = [self.graph.plates[p] for p in plates]
            if any(meant in p.of for p in mine):
                return Parent(argument, meant, "index")
            raise ModelError(
                f"'{child}' ({where}) asks for the index of plate '{meant}', which it is not in. "
                f"Declare it with plate={meant}, or drop the argument."
            )
        if meant in self.graph:
            parent = self.graph[meant]
            for p in plates:
                for q in parent.axes:
                    if p in self.graph.plates[q].of and q not in plates:
                        raise ModelError(
                            f"'{child}' ({where}) is in plate '{p}' and asks for '{meant}' of the long-format plate '{q}', "
                            f"which has a different number of members for each '{p}'. Aggregate it in a node outside "
                            f"'{p}', or declare '{child}' in '{q}'."
                        )
            return Parent(argument, meant)
        if meant == child:
            raise ModelError(
                f"'{child}' ({where}) has itself as a parent. For its value one member earlier in an ordered plate, "
                "ask for 'previous'."
            )
        candidates = [n for n in self.graph.nodes if not self.graph[n].outputs] + list(
            self.graph.plates
        )
        raise ModelError(
            f"'{child}' ({where}) has a parent '{meant}' that {self.name} does not declare above it."
            f"{closest(meant, candidates)}"
        )

    def _check_summary(self, node: Node) -> None:
        for name in node.parents:
            parent = self.graph[name]
            if parent.role not in ("observed", "input") and not parent.summary:
                raise ModelError(
                    f"'{node.name}' ({node.where}) is a summary of '{name}', which is not observed: a summary is computed from data alone. "
                    "Declare it deterministic, or summarise observed nodes."
                )

    def _check_chain(self, node: Node) -> None:
        if not node.lags:
            if node.start is not None:
                raise ModelError(
                    f"'{node.name}' ({node.where}) has start= but never asks for 'previous'."
                )
            return
        if not any(self.graph.plates[p].ordered for p in node.plates):
            raise ModelError(
                f"'{node.name}' ({node.where}) asks for the member before, but is in no ordered plate. "
                "Declare model.plate(..., ordered=True) and put the node in it with plate=."
            )
        if node.start is None:
            raise ModelError(
                f"'{node.name}' ({node.where}) asks for the member before, and the first member has none. "
                "Say how it begins: start=lambda: Normal(0, 1)."
            )
        if node.start.parents and any(p.kind == "previous" for p in node.start.parents):
            raise ModelError(
                f"The start of '{node.name}' ({node.where}) asks for the member before; there is none."
            )

    def _plates(self, options: dict[str, Any], owner: str) -> tuple[tuple[str, ...], str | None]:
        given, over = options.pop("plate", ()), options.pop("over", None)
        found = (given,) if isinstance(given, Plate | str) else tuple(given)
        names = tuple(self._known_plate(p, f"'{owner}'").name for p in found)
        order = list(self.graph.plates)
        if over is not None:
            over = self._known_plate(over, f"'{owner}'").name
            if over in names:
                raise ModelError(f"'{owner}' is both in plate '{over}' and over it; choose one.")
        if len(set(names)) < len(names):
            raise ModelError(f"'{owner}' names a plate twice: {', '.join(names)}.")
        return tuple(sorted(names, key=order.index)), over

    def _known_plate(self, plate: Plate | str, owner: str) -> Plate:
        name = plate.name if isinstance(plate, Plate) else plate
        if name not in self.graph.plates:
            raise ModelError(
                f"{owner} names a plate '{name}' that {self.name} has not.{closest(name, self.graph.plates)}"
            )
        return self.graph.plates[name]

    def _new_name(self, name: str, where: str = "") -> None:
        if not name or name in ("rng", "previous"):
            raise ModelError(f"'{name}' cannot be a name: 'rng' and 'previous' are reserved.")
        if name in self.graph or name in self.graph.plates:
            kind = "a node" if name in self.graph else "a plate"
            first = self.graph[name].where if name in self.graph else ""
            at = f" (declared at {first}; again at {where})" if where and first else ""
            raise ModelError(
                f"{self.name} already has {kind} '{name}'{at}. Give one of them another name=."
            )

    # -- surgery ---------------------------------------------------------------------------------

    def do(self, interventions: Mapping[str, Any] | None = None, /, **named: Any) -> Model:
        """The model after Pearl's intervention: nodes lose their parents and get new mechanisms.

        Args:
            interventions: By node: a constant (or one value a plate member), a function of other nodes (a policy), or a
                distribution (a soft intervention). Names with dots go into a dictionary, others may be keywords.

        Returns:
            A new model; this one is unchanged.

        Raises:
            QueryError: For a node that does not exist, or a policy that looks at the node's own descendants.

        Example:
            >>> import ppl
            >>> from ppl.distributions import Bernoulli
            >>> m = ppl.Model("m")
            >>> @m.latent
            ... def a(): return Bernoulli(0.5)
            >>> @m.latent
            ... def b(a): return Bernoulli([0.1, 0.9][a])
            >>> ppl.infer(m.do(b=1), {})["a"].probs
            tensor([0.5000, 0.5000], dtype=torch.float64)
        """
        wanted = {**(interventions or {}), **named}
        if not wanted:
            raise QueryError("do() was given nothing to set: write model.do(x=1).")
        return type(self)(self.name, intervene(self.graph, wanted))

    def include(self, other: Model, prefix: str, /, **bindings: str) -> None:
        """Copy another model's nodes into this one, as `prefix.name`.

        Args:
            other: The model to copy; it is unchanged.
            prefix: Put before every name, with a dot.
            bindings: Nodes of `other` that are replaced by nodes of this model: `truth="heat"`.
        """
        self.graph = include(self.graph, other.graph, prefix, bindings)

    def counterfactual(self, do: Mapping[str, Any]) -> Model:
        """The model together with its twin `would.*`, in which `do` was done and all else was the same.

        Args:
            do: By node, the constant that it would have been set to.

        Raises:
            QueryError: If an affected node is not deterministic: then the graph does not determine the answer.
        """
        return type(self)(self.name, counterfactual(self.graph, do))

    # -- looking and simulating ------------------------------------------------------------------

    def draw(self, **options: Any) -> Any:
        """The DAG as a `graphviz.Digraph`, shown inline by notebooks, saved by `.save("model.svg")`."""
        from ..graph.drawing import draw

        return draw(self.graph, kinds=self._kinds(), **options)

    def simulate(
        self,
        n: int,
        *,
        seed: int | None = None,
        inputs: Mapping[str, Any] | None = None,
        store: Any = None,
        workers: Any = 0,
        **options: Any,
    ) -> Any:
        """Draws from the model: the prior predictive of any node.

        The same seed gives the same bits with any number of workers, in any order of completion, and after an interruption.

        Args:
            n: How many draws.
            seed: Decides everything; 0 by default, or that of the store.
            inputs: Values of the input nodes, and integer columns of long-format plates.
            store: A folder where the draws are kept. The same call goes on where another was interrupted, and a larger `n` goes on from a smaller one.
            workers: How many processes of this machine simulate, or a Dask client or its address; 0 is this process.
            options: `of=` the nodes to return (all by default), `sizes=` of plates without one; `failures="raise"`, or `"record"` for
                rows with a status; `retries=` of what failed, with the same seed; `timeout=` seconds for a batch and `memory=` bytes for a worker;
                `progress=` to show a bar, or not.

        Returns:
            A mapping from node to `(n, *plates, *event)`, with `.status` and `.failed` of the draws, and `.replay(draw)`.

        Raises:
            SimulationError: If a body raises; it names the draw and the seed to replay it with.
            StoreError: If the store holds simulations of another model, or cannot be written.
            StoreLocked: If another process writes to it.
        """
        from ..campaign import simulate

        return simulate(
            self.graph, n, seed=seed, inputs=inputs, store=store, workers=workers, **options
        )

    def log_joint(
        self, values: Mapping[str, Any], *, inputs: Mapping[str, Any] | None = None
    ) -> Any:
        """log p(everything), where every node is explicit.

        Args:
            values: One value for each random node, `(*plates, *event)`; labels are accepted.
            inputs: Values of the input nodes.

        Raises:
            QueryError: If a node is missing, or has no density.
        """
        from ..mechanism.joint import log_joint

        return log_joint(self.graph, values, inputs)

    # -- for other libraries ---------------------------------------------------------------------

    @property
    def prior(self) -> Any:
        """The prior of the θ as one flat vector: a `torch.distributions.Distribution`, as sbi and other libraries take it.

        See `Model.vectors` for models whose prior needs the size of a plate or an input.

        Example:
            >>> import ppl
            >>> from ppl.distributions import Gamma, Normal
            >>> m = ppl.Model("m")
            >>> @m.theta
            ... def scale(): return Gamma(2, 1)
            >>> @m.theta
            ... def weights(scale): return Normal([0, 0], scale)
            >>> m.prior.labels
            ['scale', 'weights[0]', 'weights[1]']
            >>> rows = m.prior.sample((5,))
            >>> rows.shape, m.prior.log_prob(rows).shape, m.prior.named(rows)["weights"].shape
            (torch.Size([5, 3]), torch.Size([5]), torch.Size([5, 2]))
        """
        from ..bridges import Prior

        return Prior(self.graph)

    @property
    def simulator(self) -> Any:
        """Rows of θ in, rows of data out: a function, as sbi and other libraries take it. See `Model.vectors`."""
        return self.vectors()[1]

    def vectors(
        self,
        *,
        of: Collection[str] | str | None = None,
        given: Collection[str] | str | None = None,
        sizes: Mapping[str, int] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> tuple[Any, Any]:
        """The model over flat vectors: `prior, simulator = model.vectors(...)`, for libraries that know nothing of names.

        Both are seeded by torch's global generator. `prior.named(rows)` goes back to values by name, `simulator.flat(observation)` makes a row
        of an observation, `.labels` say what each number is.

        Args:
            of: The nodes in a row of θ; by default the θ, or the latents of a model without. The random nodes that they depend on are
                added; all others are integrated out, by being drawn afresh for every simulation.
            given: The nodes in a row of data; by default the observed ones. Summaries may be named, and inputs that have a range.
            sizes: Sizes of plates that the model does not tell.
            inputs: Values of inputs, and integer columns of long-format plates.

        Returns:
            The prior, a `torch.distributions.Distribution`, and the simulator, which gives NaN where a simulation failed.

        Raises:
            QueryError: If a node is unknown, a plate has no size, an input no value, or the prior depends on what is observed.

        Example:
            >>> import ppl
            >>> from ppl.distributions import Normal
            >>> line = ppl.Model("line")
            >>> row = line.plate("row")
            >>> line.input("x", plate=row)
            >>> @line.theta
            ... def slope(): return Normal(0, 1)
            >>> @line.observed(plate=row)
            ... def y(slope, x): return Normal(slope * x, 1)
            >>> prior, simulator = line.vectors(inputs={"x": [0, 1, 2]})
            >>> simulator(prior.sample((10,))).shape
            torch.Size([10, 3])
            >>> simulator.flat({"y": [0.5, 1, 2]})
            tensor([0.5000, 1.0000, 2.0000])
        """
        from ..bridges import Prior, Simulator

        prior = Prior(self.graph, of, sizes, inputs)
        return prior, Simulator(self.graph, prior, given, sizes, inputs)

    def to_pyro(self, *, sizes: Mapping[str, int] | None = None) -> Any:
        """The model as a Pyro program, for Pyro's own engines and handlers.

        The program takes the observation as a mapping and inputs as keyword arguments. Random nodes are `pyro.sample` sites, deterministic ones
        `pyro.deterministic`, plates `pyro.plate`; of a chain every member is a site, `name[0]`, `name[1]`, ….

        Args:
            sizes: Sizes of plates that neither the model nor the data tell.

        Raises:
            QueryError: If a node has no density.

        Example:
            >>> import ppl, pyro
            >>> from ppl.distributions import Normal
            >>> scale = ppl.Model("scale")
            >>> @scale.theta
            ... def weight(): return Normal(0, 1)
            >>> @scale.observed(plate=scale.plate("weighing"))
            ... def reading(weight): return Normal(weight, 1)
            >>> trace = pyro.poutine.trace(scale.to_pyro()).get_trace({"weight": 0.5, "reading": [0.5, 1]})
            >>> trace.log_prob_sum()
            tensor(-3.0068, dtype=torch.float64)
            >>> scale.log_joint({"weight": 0.5, "reading": [0.5, 1]})
            tensor(-3.0068, dtype=torch.float64)
        """
        from ..bridges import Program

        return Program(self.graph, sizes)

    def _kinds(self) -> Mapping[str, str]:
        from ..mechanism.probe import kinds

        return kinds(self.graph)
