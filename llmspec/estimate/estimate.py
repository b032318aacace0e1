"""The estimate: every figure of a run, before it runs.

`Estimate.to_json()` has these keys, which do not change meaning:

    parameters.total                         parameters of the model, tied ones once
    parameters.active                        those that take part in one token
    parameters.non_embedding                 without embedding tables and output head
    parameters.by_component.<component>
    flops.per_token                          forward and backward, all pairs of the attention (torch's FlopCounterMode)
    flops.forward_per_token, .causal_per_token, .hardware_per_token
    flops.by_component.<component>           adds up to flops.per_token
    flops.total                              flops.per_token * max_tokens
    memory.peak_gib                          of one device, framework and fragmentation included
    memory.allocated_gib                     what PyTorch's allocator hands out at the peak
    memory.reserved_gib                      what it has asked of the driver, fragmentation included
    memory.capacity_gib, memory.fits, memory.tight, memory.moment
    memory.by_component.<component>          GiB, adds up to memory.peak_gib
    memory.activations_by_kind.<kind>        GiB of tensors kept for the backward pass
    time.step_seconds                        one optimizer step
    time.step_by_component.<part>            seconds, adds up to time.step_seconds
    time.training_hours                      max_steps steps
    time.goodput                             share of the wall-clock that is in steps
    time.availability                        share that failures and checkpoints leave; in time.goodput
    time.hours_between_failures              of the whole run
    time.total_hours                         wall-clock of the run; time.stops_early says that max_duration ends it
    time.device_hours
    checkpoint.stall_seconds                 for which training waits at each checkpoint
    checkpoint.every                         steps between checkpoints; checkpoint.lost of the wall-clock go to them and to failures
    checkpoint.best_every                    the steps that cost least, and then checkpoint.best_availability, checkpoint.best_lost
    throughput.tokens_per_second, throughput.tokens_per_second_per_device
    throughput.mfu                           model FLOPs utilisation, in the convention of flops.per_token over the dense peak
    cost.usd                                 null where nobody quotes the device
    cost.usd_per_device_hour, cost.provider, cost.by_provider.<provider>
    cost.by_market.<market>.<provider>       the same for on_demand, spot and reserved (with a commitment), the cheapest first
    cost.offers                              only with derivations: provider, market, instance, usd_per_device_hour, usd, date, source
    energy.kwh, energy.watts_per_device      building included in kwh; null where the rated power is not known
    energy.pue
    carbon.kg_co2e                           operational and embodied; null where energy is
    carbon.operational_kg_co2e, carbon.embodied_kg_co2e, carbon.grid_gco2e_per_kwh
    carbon.start.<figure>                    best, end, at_once (times in UTC), operational_kg_co2e, at_once_kg_co2e, mean_kg_co2e,
                                             worst_kg_co2e, grid_gco2e_per_kwh, column, marginal; only with --grid-data
    loss.expected                            nats per token; loss.meaning says of what
    loss.tokens_per_parameter, loss.optimal_parameters, loss.optimal_tokens, loss.optimal_loss, loss.verdict, loss.meaning
    loss.law, loss.data_set                  which law, and the named data set whose constant it has; null where none was named
    loss.by_law.<law>                        what each published law says with its own constant, where it was fitted on such runs
    loss.tuning_factor                       loss over that of StepLaw's learning rate and batch; in loss.expected
    loss.epochs                              passes over the data; only where --unique-tokens says how many there are
    loss.inference.<figure>                  tokens, optimal_parameters, optimal_tokens, optimal_loss; only with --inference-tokens
    calibration.profile, .learned_from       only with --profile: its name, runs and steps; .differs says in what from them
    calibration.step_factor, .memory_factor  by which it multiplied what the analytic model says; null where nothing was learned
    calibration.step_interval, .memory_interval    share of the interval that is left, in logarithms
    calibration.stepping                     share of the wall-clock in steps where nothing fails
    intervals.<key>                          [low, high] of each predicted figure
    derivations.<key>                        only when asked for: unit, formula, inputs and source of each figure
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from llmspec.catalog import MARKETS
from llmspec.estimate.carbon import Carbon, estimate_carbon
from llmspec.estimate.correction import Corrections
from llmspec.estimate.derivation import COUNTED, Input, Quantities, Quantity
from llmspec.estimate.device import describe_device
from llmspec.estimate.energy import Energy, estimate_energy
from llmspec.estimate.flops import Flops, count_flops
from llmspec.estimate.loss import Loss, LossAssumptions, expect_loss
from llmspec.estimate.memory import GIB, Memory, estimate_memory
from llmspec.estimate.money import Money, estimate_money
from llmspec.estimate.parameters import Parameters, count_parameters
from llmspec.estimate.step_time import StepTime, estimate_step_time
from llmspec.estimate.wall_clock import WallClock, estimate_wall_clock
from llmspec.network.network import Network
from llmspec.resolve.resolved import Resolved

if TYPE_CHECKING:
    from llmspec.estimate.grid_data import Start

_MAY_BE_UNKNOWN = (
    "cost.usd",
    "cost.usd_per_device_hour",
    "energy.kwh",
    "energy.watts_per_device",
    "carbon.kg_co2e",
    "carbon.operational_kg_co2e",
)


class Estimate(NamedTuple):
    """What a run will need, take and cost."""

    name: str
    tokens: int
    steps: int
    device: str
    devices: int
    parameters: Parameters
    flops: Flops
    memory: Memory
    step_time: StepTime
    wall_clock: WallClock
    money: Money
    energy: Energy
    carbon: Carbon
    loss: Loss
    calibration: Corrections | None = None
    start: "Start | None" = None
    """When the run emits least; only where hourly intensities of its grid are given."""

    def quantities(self) -> dict[str, Quantity]:
        """Every figure by its key in the JSON; those that are not known are left out."""
        memory, loss, clock = self.memory, self.loss, self.wall_clock
        figures: dict[str, Quantity | None] = {
            "parameters.total": self.parameters.total,
            "parameters.active": self.parameters.active,
            "parameters.non_embedding": self.parameters.non_embedding,
            **_prefixed("parameters.by_component", self.parameters.by_component),
            "flops.per_token": self.flops.per_token,
            "flops.forward_per_token": self.flops.forward_per_token,
            "flops.causal_per_token": self.flops.causal_per_token,
            "flops.hardware_per_token": self.flops.hardware_per_token,
            **_prefixed("flops.by_component", self.flops.by_component),
            "flops.total": self.flops.total,
            "memory.peak_gib": memory.peak,
            "memory.allocated_gib": Quantity(
                memory.allocated_bytes / GIB,
                "GiB",
                "peak - framework - fragmentation",
                (memory.peak.as_input("peak"), Input("moment", memory.moment, COUNTED)),
                memory.peak.source,
            ),
            "memory.reserved_gib": Quantity(
                memory.reserved_bytes / GIB,
                "GiB",
                "peak - framework",
                (memory.peak.as_input("peak"), Input("moment", memory.moment, COUNTED)),
                memory.peak.source,
            ),
            "memory.capacity_gib": memory.capacity,
            **_prefixed("memory.by_component", memory.components),
            **_prefixed("memory.activations_by_kind", memory.activations),
            "time.step_seconds": self.step_time.step,
            **_prefixed("time.step_by_component", self.step_time.components),
            "time.training_hours": clock.training_hours,
            "time.goodput": clock.goodput.goodput,
            "time.availability": clock.goodput.availability,
            "time.hours_between_failures": clock.goodput.between,
            "time.total_hours": clock.total_hours,
            "time.device_hours": clock.device_hours,
            "checkpoint.stall_seconds": clock.goodput.stall,
            "checkpoint.best_every": clock.goodput.best_every,
            "checkpoint.best_availability": clock.goodput.best_availability,
            "throughput.tokens_per_second": self.step_time.tokens_per_second,
            "throughput.tokens_per_second_per_device": self.step_time.tokens_per_second_per_device,
            "throughput.mfu": self.step_time.mfu,
            "cost.usd": self.money.cost,
            "cost.usd_per_device_hour": self.money.price,
            "energy.kwh": self.energy.kwh,
            "energy.watts_per_device": self.energy.watts_per_device,
            "energy.pue": self.energy.pue,
            "carbon.kg_co2e": self.carbon.total,
            "carbon.operational_kg_co2e": self.carbon.operational,
            "carbon.embodied_kg_co2e": self.carbon.embodied,
            "carbon.grid_gco2e_per_kwh": self.carbon.grid,
            **({f"carbon.start.{name}": quantity for name, quantity in self.start.quantities().items()} if self.start else {}),
            **{f"loss.{name}": quantity for name, quantity in loss.quantities().items()},
        }
        return {key: quantity for key, quantity in figures.items() if quantity is not None}

    def to_json(self, *, derivations: bool = False) -> dict[str, Any]:
        """The estimate as plain values; the module's docstring lists the keys."""
        quantities = self.quantities()
        result: dict[str, Any] = {
            section: {}
            for section in ("parameters", "flops", "memory", "time", "checkpoint", "throughput", "cost", "energy", "carbon", "loss")
        }
        for key in _MAY_BE_UNKNOWN:
            _put(result, key, None)
        for key, quantity in quantities.items():
            _put(result, key, quantity.value)
        for key, value in {
            "memory.fits": self.memory.fits,
            "memory.tight": self.memory.tight,
            "memory.moment": self.memory.moment,
            "time.stops_early": self.wall_clock.stops_early,
            "checkpoint.every": self.wall_clock.goodput.every,
            "checkpoint.lost": self.wall_clock.goodput.lost,
            "checkpoint.best_lost": self.wall_clock.goodput.least_lost,
            "cost.provider": self.money.provider,
            "cost.by_provider": {offer.provider: offer.usd for offer in self.money.offers},
            "cost.by_market": {
                market: {offer.provider: offer.usd for offer in self.money.all_offers if offer.market == market} for market in MARKETS
            },
            **({f"carbon.start.{name}": value for name, value in self.start.facts().items()} if self.start else {}),
            "loss.law": self.loss.law,
            "loss.data_set": self.loss.data_set,
            "loss.meaning": self.loss.meaning,
            "loss.verdict": self.loss.verdict,
        }.items():
            _put(result, key, value)
        if self.calibration is not None:
            result["calibration"] = self.calibration.to_json()
        result["intervals"] = {key: [quantity.low, quantity.high] for key, quantity in quantities.items() if quantity.low is not None}
        if derivations:
            result["cost"]["offers"] = [
                {
                    "provider": offer.provider,
                    "market": offer.market,
                    "instance": offer.instance,
                    "usd_per_device_hour": offer.usd_per_hour,
                    "usd": offer.usd,
                    "date": offer.date,
                    "source": offer.source,
                }
                for offer in self.money.all_offers
            ]
            result["derivations"] = {
                key: {
                    "unit": quantity.unit,
                    "formula": quantity.formula,
                    "inputs": [value._asdict() for value in quantity.inputs],
                    "source": quantity.source,
                }
                for key, quantity in quantities.items()
            }
        return result


def _prefixed(prefix: str, quantities: Quantities) -> dict[str, Quantity]:
    return {f"{prefix}.{name}": quantity for name, quantity in quantities.items()}


def _put(result: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        result = result.setdefault(section, {})
    result[name] = value


def with_loss(figures: Estimate, resolved: Resolved, assumptions: LossAssumptions) -> Estimate:
    """The estimate with a loss that rests on more than the spec says."""
    return figures._replace(loss=expect_loss(resolved, figures.parameters, assumptions))


def estimate(resolved: Resolved, network: Network, corrections: Corrections | None = None) -> Estimate:
    """Estimate a run: exact counts, then the device, then the schedule, then the wall-clock and what hangs on it.

    Args:
        resolved: The spec.
        network: Its model.
        corrections: What a profile has learned from runs that were measured.
    """
    device = describe_device(resolved)
    parameters = count_parameters(network)
    flops = count_flops(resolved, network)
    memory = estimate_memory(resolved, network, device, corrections and corrections.memory)
    step_time = estimate_step_time(resolved, network, device, flops, corrections and corrections.step)
    wall_clock = estimate_wall_clock(resolved, network, step_time, corrections and corrections.stepping)
    money = estimate_money(resolved, wall_clock)
    energy = estimate_energy(resolved, device, step_time, wall_clock, money)
    carbon = estimate_carbon(resolved, wall_clock, energy)
    return Estimate(
        name=resolved.spec.name,
        tokens=resolved.spec.training.max_tokens,
        steps=resolved.spec.training.max_steps,
        device=device.name,
        devices=resolved.world_size,
        parameters=parameters,
        flops=flops,
        memory=memory,
        step_time=step_time,
        wall_clock=wall_clock,
        money=money,
        energy=energy,
        carbon=carbon,
        loss=expect_loss(resolved, parameters),
        calibration=corrections,
    )
