"""A saved plan answers as it did, to the last bit; and whatever is not what it was is refused."""

import json
import sys
from types import ModuleType

import pytest
import torch
from safetensors.torch import load as tensors_of

import ppl
from examples import sprinkler
from ppl.compiler import Verdict, registry
from ppl.distributions import Bernoulli, Integers, Normal, Poisson
from ppl.files import document
from ppl.posterior import Certificate, Draws


def draws(posterior, name):
    """Some draws of a node."""
    return posterior.sample(50, seed=3)[name]


def weather(rain=0.2, wet=(0.1, 0.9), extra=False, labels=("dry", "rain")) -> ppl.Model:
    """Rain, and what it leaves behind."""
    model = ppl.Model("weather")

    @model.latent(states=labels)
    def sky():
        return Bernoulli(rain)

    @model.observed
    def grass(sky):
        return Bernoulli(list(wet)[sky])

    if extra:

        @model.observed
        def street(sky):
            return Bernoulli([0.3, 0.8][sky])

    return model


def regression() -> ppl.Model:
    """A line through points that come with the data."""
    model = ppl.Model("line")
    row = model.plate("row")
    model.input("x", plate=row)

    @model.theta
    def slope():
        return Normal(0, 1)

    @model.observed(plate=row)
    def y(slope, x):
        return Normal(slope * x, 1)

    return model


def count() -> ppl.Model:
    """A simulator of whole numbers."""
    model = ppl.Model("count")

    @model.theta
    def rate():
        return Integers(1, 20)

    @model.observed
    def seen(rate, rng):
        return rng.poisson(rate)

    return model


# -- answers -------------------------------------------------------------------------------------


def test_an_exact_plan_answers_with_equal_bits(tmp_path):
    """Nothing is lost but the elimination order."""
    plan = ppl.compile(sprinkler.garden, given=["wet"])
    loaded = ppl.load(plan.save(tmp_path / "garden"), sprinkler.garden)
    assert loaded.to_dict() == plan.to_dict()
    for wet in (0, 1):
        one, two = plan.posterior({"wet": wet}), loaded.posterior({"wet": wet})
        assert torch.equal(one["rain"].probs, two["rain"].probs)
        assert one.log_evidence == two.log_evidence


@pytest.mark.parametrize("method", [None, "closed", "nuts", "rejection"])
def test_inputs_sizes_and_the_observation_come_back(tmp_path, method):
    """A plan that was made for one observation answers without being given it again."""
    options = {"budget": ppl.Budget(simulations=2_000)} if method == "rejection" else {}
    seen = {"x": [0.0, 1.0, 2.0], "y": [0.1, 1.2, None if method is None else 2.1]}
    model = regression()
    plan = ppl.compile(model, seen, method=method, seed=5, **options)
    loaded = ppl.load(plan.save(tmp_path / "line"), model)
    assert loaded.to_dict() == plan.to_dict()
    assert torch.equal(draws(loaded.posterior(), "slope"), draws(plan.posterior(), "slope"))


def test_a_plan_for_many_observations_still_takes_gaps(tmp_path):
    """What opens paths after loading is planned then."""
    model = regression()
    plan = ppl.compile(model, given=["y"], inputs={"x": [0.0, 1.0, 2.0]})
    loaded = ppl.load(plan.save(tmp_path / "line"), model)
    gaps = {"y": [0.1, None, 2.0]}
    assert loaded.posterior(gaps)["slope"].mean == plan.posterior(gaps)["slope"].mean


def test_long_format_columns_and_virtual_evidence_come_back(tmp_path):
    """Everything that an observation can hold."""
    model = ppl.Model("exam")
    student = model.plate("student")
    answer = model.plate("answer", of=student)
    model.latent(lambda: Bernoulli(0.5), name="able", plate=student)
    model.observed(lambda able: Bernoulli([0.3, 0.9][able]), name="right", plate=answer)
    seen = {"student": [0, 0, 1], "right": [1, 1, 0], "able": ppl.Likelihood([[1, 2], [3, 1]])}
    plan = ppl.compile(model, seen)
    loaded = ppl.load(plan.save(tmp_path / "exam"), model)
    assert torch.equal(loaded.posterior()["able"].probs, plan.posterior()["able"].probs)


def test_a_forced_method_comes_back_with_its_options(tmp_path):
    """Numbers and texts are written down."""
    model = count()
    plan = ppl.compile(
        model,
        {"seen": 7},
        method=ppl.Method("rejection", quantile=0.01),
        budget=ppl.Budget(simulations=4_000),
    )
    loaded = ppl.load(plan.save(tmp_path / "count"), model)
    assert loaded.query.options == {"quantile": 0.01}
    assert loaded.budget == plan.budget
    assert torch.equal(draws(loaded.posterior(), "rate"), draws(plan.posterior(), "rate"))


def test_equal_plans_are_equal_files(tmp_path):
    """The file can be compared and cached by its content."""
    files = [
        ppl.compile(weather(), given=["grass"]).save(tmp_path / name) for name in ("one", "two")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


# -- engines that learn --------------------------------------------------------------------------


class Toy:
    """An engine whose preparation is random and counted: it keeps draws from the prior."""

    prepared = 0
    shared = torch.arange(6.0)

    def __init__(self, query, kept, facts):
        self.query, self.kept, self.facts = query, kept, facts

    def condition(self, data):
        drawn = {self.query.ask[0]: self.kept}
        return [Draws(self.query.graph, drawn, Certificate("U", "a toy"))] * data.datasets

    def state(self):
        # Views of one memory, a whole number, a 0-d tensor and an empty one: all must come back.
        tensors = {"kept": self.kept, "head": self.shared[:2], "tail": self.shared[1:].flip(0)}
        return {**tensors, "one": torch.tensor(True), "none": torch.zeros(0, 3)}, self.facts


@pytest.fixture
def toy(monkeypatch):
    """A backend of somebody else's, registered for one test."""
    module = ModuleType("toy_engine")
    facts = {"losses": (1.5, float("inf")), "layers": {3: "wide"}, "name": None, "n": 7}

    def judge(query, budget):
        return Verdict("toy", bool(query.evidence), 6, "it does anything", cost={"draws": 9})

    def prepare(query, budget):
        Toy.prepared += 1
        noise = torch.rand(2000, dtype=torch.float64)  # unseeded on purpose
        return Toy(query, noise, facts)

    def restore(query, budget, tensors, facts):
        assert torch.equal(tensors["tail"], torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0]))
        assert tensors["one"].dtype == torch.bool
        assert tensors["none"].shape == (0, 3)
        return Toy(query, tensors["kept"], facts)

    module.judge, module.prepare, module.restore = judge, prepare, restore
    module.OPTIONS = ("width", "net", "table")
    monkeypatch.setitem(sys.modules, "toy_engine", module)
    monkeypatch.setitem(registry.OURS, "toy", "toy_engine")
    monkeypatch.setattr(Toy, "prepared", 0)
    registry.backend.cache_clear()
    yield module
    registry.backend.cache_clear()


def test_what_an_engine_learned_is_not_learned_again(tmp_path, toy):
    """Saving prepares; loading does not."""
    model = regression()
    plan = ppl.compile(model, {"x": [1.0], "y": [2.0]}, method="toy")
    file = plan.save(tmp_path / "toy")
    loaded = ppl.load(file, model)
    assert torch.equal(draws(loaded.posterior(), "slope"), draws(plan.posterior(), "slope"))
    assert Toy.prepared == 1
    assert loaded._solver(0).facts == plan._solver(0).facts
    assert "routes/0/state/tensors/kept" in tensors_of(file.read_bytes())


def test_options_that_no_file_can_hold_are_handed_in_again(tmp_path, toy):
    """A user's net is code; the error says which, and how."""
    model, net = regression(), torch.nn.Linear(2, 3)
    chosen = ppl.Method("toy", net=net, width=(3, 4), table=torch.eye(2))
    plan = ppl.compile(model, {"x": [1.0], "y": [2.0]}, method=chosen)
    file = plan.save(tmp_path / "toy")
    with pytest.raises(
        ppl.QueryError, match=r"net \(a torch.nn.*Linear\).*ppl.Method\(\"toy\", net=...\)"
    ):
        ppl.load(file, model)
    with pytest.raises(ppl.QueryError, match=r"was compiled with width=\(3, 4\)"):
        ppl.load(file, model, method=ppl.Method("toy", net=net, width=5))
    with pytest.raises(ppl.QueryError, match=r"not 'nuts'"):
        ppl.load(file, model, method=ppl.Method("nuts"))
    loaded = ppl.load(file, model, method=ppl.Method("toy", net=net, width=(3, 4)))
    assert loaded.query.options["net"] is net
    assert loaded.query.options["width"] == (3, 4)
    assert torch.equal(loaded.query.options["table"], torch.eye(2))


def test_a_state_that_is_no_data_is_refused_and_nothing_is_written(tmp_path, toy):
    """There is no pickle to fall back on."""
    plan = ppl.compile(regression(), {"x": [1.0], "y": [2.0]}, method="toy")
    plan._solver(0).facts = {"schedule": lambda step: 0.1}
    with pytest.raises(ppl.BackendError, match=r"schedule is a builtins.function"):
        plan.save(tmp_path / "toy")
    assert not list(tmp_path.iterdir())


def test_the_routes_that_were_saved_are_taken(tmp_path, toy, monkeypatch):
    """Also where a later version would prefer another one; and one that no longer serves is an error."""
    toy.judge = lambda query, budget: Verdict("toy", True, -1, "it comes first")
    monkeypatch.setattr(registry, "ranked", lambda: ("toy", "exact", "closed"))
    monkeypatch.setattr(registry, "OURS", {"toy": "toy_engine", **registry.OURS})
    model = regression()
    plan = ppl.compile(model, {"x": [1.0], "y": [2.0]})
    assert plan.routes[0].method == "toy"
    file = plan.save(tmp_path / "toy")
    toy.judge = lambda query, budget: Verdict("toy", True, 99, "it comes last")
    loaded = ppl.load(file, model)
    assert loaded.routes[0].method == "toy"
    assert torch.equal(draws(loaded.posterior(), "slope"), draws(plan.posterior(), "slope"))
    toy.judge = lambda query, budget: Verdict("toy", False, 99, "it has gone home", fits=False)
    with pytest.raises(ppl.StoreError, match=r"'toy' answered for slope.*it has gone home"):
        ppl.load(file, model)


def test_a_version_of_an_engine_that_takes_nothing_up_says_so(tmp_path, toy):
    """Better than training again in silence."""
    model = regression()
    file = ppl.compile(model, {"x": [1.0], "y": [2.0]}, method="toy").save(tmp_path / "toy")
    del toy.restore
    with pytest.raises(ppl.StoreError, match=r"cannot take it up"):
        ppl.load(file, model)


# -- other models --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: weather(rain=0.3), r"changed: sky \(code\)\."),
        (lambda: weather(wet=(0.1, 0.8)), r"changed: grass \(code\)\."),
        (lambda: weather(labels=("rain", "dry")), r"changed: sky \(labels\)\."),
        (lambda: weather(extra=True), r"added: street\."),
        (lambda: weather().do(sky=1), r"changed: sky \(do\)\."),
        (regression, r"added: x, slope, y; gone: sky, grass; added: plate row\."),
    ],
)
def test_another_model_is_refused_with_the_difference(tmp_path, other, said):
    """Which nodes were added, are gone, or have changed."""
    file = ppl.compile(weather(), given=["grass"]).save(tmp_path / "weather")
    with pytest.raises(ppl.StoreError, match=said):
        ppl.load(file, other())


def test_the_same_model_written_again_is_the_same(tmp_path):
    """Another process, another line number, another comment."""
    file = ppl.compile(weather(), given=["grass"]).save(tmp_path / "weather")
    assert ppl.load(file, weather()).posterior({"grass": 1})["sky"].probs.shape == (2,)


def test_what_hides_from_the_code_shows_in_the_probes(tmp_path):
    """An object that cannot be read counts by its type; what it computes is still noticed."""

    class Hidden:
        def __init__(self, shift):
            self.shift = shift

        def __reduce_ex__(self, protocol):
            raise TypeError("not for writing")

        def __call__(self, x):
            return x + self.shift

    def shifted(shift):
        model, instrument = ppl.Model("m"), Hidden(shift)

        @model.theta
        def level():
            return Normal(0, 1)

        @model.observed
        def y(level):
            return Normal(instrument(level), 1)

        @model.deterministic
        def reading(level):
            return instrument(level)

        return model

    file = ppl.compile(shifted(1.0), {"y": 2.0}, of=["level", "reading"]).save(tmp_path / "m")
    ppl.load(file, shifted(1.0))
    with pytest.raises(ppl.StoreError, match=r"reading.*draws other numbers"):
        ppl.load(file, shifted(2.0))


def test_a_text_that_was_run_without_a_module_is_read_too(tmp_path):
    """Its functions and classes say that they belong to nobody, or to Python; they are the user's all the same."""
    text = (
        "import ppl\n"
        "from ppl.distributions import Normal\n"
        "class Scale:\n    factor = {factor}\n"
        "model = ppl.Model('m')\n"
        "@model.theta\ndef level(): return Normal(0, {sd})\n"
        "@model.observed\ndef y(level): return Normal(level * Scale.factor, 1)\n"
    )

    def ran(**values):
        names = {}
        exec(text.format(**values), names)
        return names["model"]

    file = ppl.compile(ran(factor=1, sd=1), {"y": 1.0}).save(tmp_path / "m")
    ppl.load(file, ran(factor=1, sd=1))
    with pytest.raises(ppl.StoreError, match=r"changed: level \(code\)\."):
        ppl.load(file, ran(factor=1, sd=2))
    with pytest.raises(ppl.StoreError, match=r"changed: y \(code\)\."):
        ppl.load(file, ran(factor=2, sd=1))


def test_another_size_and_another_order_are_other_models(tmp_path):
    """Axes and elimination follow the declarations."""

    def pair(size, swapped=False):
        model = ppl.Model("pair")
        row = model.plate("row", size)
        for name in ("b", "a") if swapped else ("a", "b"):
            model.latent(lambda: Bernoulli(0.5), name=name)
        model.observed(lambda a, b: Poisson(1 + a + b), name="y", plate=row)
        return model

    file = ppl.compile(pair(2), given=["y"]).save(tmp_path / "pair")
    with pytest.raises(ppl.StoreError, match=r"plate row has 3 members, not 2"):
        ppl.load(file, pair(3))
    with pytest.raises(ppl.StoreError, match=r"another order"):
        ppl.load(file, pair(2, swapped=True))


# -- files ---------------------------------------------------------------------------------------


def test_every_flipped_byte_is_noticed(tmp_path):
    """Head, tensors and the checksum itself."""
    model = weather()
    file = ppl.compile(model, {"grass": 1}).save(tmp_path / "weather")
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ppl.FormatError, match=r"damaged|reads up to"):
            ppl.load(file, model)


@pytest.mark.parametrize("keep", [0, 5, 60, 0.5, -1])
def test_a_file_that_was_cut_short_is_refused(tmp_path, keep):
    """As after a copy that did not end."""
    file = ppl.compile(weather(), {"grass": 1}).save(tmp_path / "weather")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep) if keep == 0.5 else keep])
    with pytest.raises(ppl.FormatError, match=r"damaged"):
        ppl.load(file, weather())


def test_a_newer_format_asks_for_an_update(tmp_path):
    """Before anything else is read."""
    file = tmp_path / "plan"
    document.write(file, "plan", 99, {"other": 1}, force=False)
    with pytest.raises(ppl.FormatError, match=r"format 99.*reads up to 1.*Update galton"):
        ppl.load(file, weather())


def test_other_files_are_no_plans(tmp_path):
    """Text, a safetensors file of somebody else's, another kind of document, one that lacks something."""
    from safetensors.torch import save_file

    (tmp_path / "text").write_text(json.dumps({"plan": 1}))
    save_file({"w": torch.zeros(2)}, tmp_path / "net")
    document.write(tmp_path / "kind", "story", 1, {}, force=False)
    document.write(tmp_path / "bare", "plan", 1, {"model": "m"}, force=False)
    for name in ("text", "net", "kind", "bare"):
        with pytest.raises(ppl.FormatError, match=r"is no plan"):
            ppl.load(tmp_path / name, weather())


def test_a_file_that_is_there_is_kept(tmp_path):
    """Unless the user says otherwise; and no temporary file stays behind."""
    plan = ppl.compile(weather(), given=["grass"])
    file = plan.save(str(tmp_path / "weather"))
    file.write_text("precious")
    with pytest.raises(ppl.StoreError, match=r"there already.*force=True"):
        plan.save(file)
    assert file.read_text() == "precious"
    plan.save(file, force=True)
    ppl.load(str(file), weather())
    assert [p.name for p in tmp_path.iterdir()] == ["weather"]


def test_paths_that_cannot_be(tmp_path):
    """A folder, a folder that is missing, a file that is missing, no model."""
    plan = ppl.compile(weather(), given=["grass"])
    with pytest.raises(ppl.StoreError, match=r"is a folder; name a file in it"):
        plan.save(tmp_path, force=True)
    with pytest.raises(ppl.StoreError, match=r"there is no folder"):
        plan.save(tmp_path / "nowhere" / "plan")
    with pytest.raises(ppl.StoreError, match=r"is a folder"):
        ppl.load(tmp_path, weather())
    with pytest.raises(ppl.StoreError, match=r"There is no file"):
        ppl.load(tmp_path / "nothing", weather())
    with pytest.raises(ppl.QueryError, match=r"takes the model"):
        ppl.load(plan.save(tmp_path / "plan"), weather)


def test_nothing_that_could_run_is_in_the_file(tmp_path):
    """Only JSON and tensors: a file from a stranger is safe to open."""
    file = ppl.compile(weather(), {"grass": 1}).save(tmp_path / "weather")
    raw = file.read_bytes()
    head = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert set(head["__metadata__"]) == {"galton"}
    assert json.loads(head["__metadata__"]["galton"])["kind"] == "plan"
