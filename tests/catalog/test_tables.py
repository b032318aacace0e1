"""The tables are sound: every entry reads, every source is spelled out, and no figure contradicts another."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmspec import catalog
from llmspec.catalog.table import Table, table

DIRECTORY = Path(catalog.__file__).parent
TABLES = sorted(path.name for path in DIRECTORY.glob("*.yaml"))


@pytest.mark.parametrize("file", TABLES)
def test_one_entry_is_what_the_whole_table_has(file: str) -> None:
    whole = table(file).all()
    assert len(table(file).names) == len(set(table(file).names)) == len(whole)
    for name in table(file).names:
        assert table(file).entry(name) == whole[name]
    assert table(file).entry("nothing") is None


def test_an_entry_is_cut_out_with_its_own_lines_only() -> None:
    text = "# comment\none: 1\n\n# about two\ntwo:\n  a: x\n  # inside\n  b: y\ntwo.three:\n- 3\n"
    assert Table(text).names == ("one", "two", "two.three")
    assert Table(text).entry("two") == {"a": "x", "b": "y"}
    assert Table(text).entry("two.three") == [3]
    assert Table(text).entry("a") is None


def test_import_reads_no_table() -> None:
    program = "import llmspec.catalog; from llmspec.catalog.table import table; assert table.cache_info().currsize == 0"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=DIRECTORY.parents[1])


class TestAccelerators:
    @pytest.mark.parametrize("id", catalog.accelerator_names())
    def test_figures_agree(self, id: str) -> None:
        device = catalog.find_accelerator(id)
        assert device is not None
        assert device == catalog.accelerators()[id]
        assert device.id == id
        assert 2017 <= device.year <= 2026
        assert device.confidence in {"high", "medium", "low"}
        assert device.device_type in {"cuda", "cpu", "mps", "hpu", "xla", "npu"}
        # What a program sees is what was sold, counted in GB or GiB, less at most a sixteenth for error correction.
        assert 0.93 * 10**9 <= device.memory_bytes / device.memory_gb <= 1.03 * 2**30
        assert device.memory_bandwidth_gbs > 0
        assert device.peak_tflops
        assert all(peak > 0 for peak in device.peak_tflops.values())
        assert all(speed <= device.peak_tflops[number] for number, speed in device.matmul_tflops.items())
        assert device.link_domain >= device.accelerators_per_node >= 1
        for source in device.sources:
            assert catalog.citation(source) != source

    def test_narrower_formats_are_not_slower(self) -> None:
        for device in catalog.accelerators().values():
            order = [device.peak_tflops[n] for n in ("fp32", "bf16", "fp8", "fp4") if n in device.peak_tflops]
            assert order == sorted(order), device.id

    def test_known_devices(self) -> None:
        h100 = catalog.find_accelerator("h100-sxm")
        assert h100 is not None
        assert (h100.peak_tflops["bf16"], h100.memory_bandwidth_gbs, h100.tdp_watts, h100.accelerators_per_node) == (989.4, 3350, 700, 8)
        assert h100.memory_bytes == 81559 * 2**20
        assert h100.supports("bf16") and not h100.is_cpu and h100.device_type == "cuda"
        v100 = catalog.find_accelerator("v100-sxm-16")
        assert v100 is not None and not v100.supports("bf16")

    def test_a_plain_cpu_has_no_bf16(self) -> None:
        # Without AVX512-BF16 a bf16 matrix product is far slower than an fp32 one, so the default must not be bf16 there.
        cpu = catalog.find_accelerator("cpu")
        assert cpu is not None
        assert cpu.is_cpu and cpu.device_type == "cpu" and cpu.supports("fp32") and not cpu.supports("bf16")
        assert cpu.tdp_watts is not None
        fast = catalog.find_accelerator("cpu-avx512-bf16")
        assert fast is not None and fast.supports("bf16")

    def test_unknown(self) -> None:
        assert catalog.find_accelerator("h100") is None


class TestPrices:
    def test_every_quote_is_sound(self) -> None:
        quotes = [quote for name in table("prices.yaml").names for quote in catalog.prices_for(name)]
        assert len(quotes) == 99 + 2
        for quote in quotes:
            assert catalog.find_accelerator(quote.accelerator) is not None
            assert catalog.citation(quote.source) != quote.source
            assert quote.verified != (quote.source == "recalled")
            assert quote.date is None or re.fullmatch(r"20\d\d(-\d\d){0,2}", quote.date)
            assert quote.date is not None or not quote.verified
            assert quote.accelerators >= 1
            for price in (quote.on_demand, *(quote.spot or ()), *quote.other_regions.values()):
                assert price is None or 0 < price < 100
            if quote.spot is not None:
                assert quote.spot[0] <= quote.spot[1]

    def test_the_cheapest_verified_quote_without_commitment_is_taken(self) -> None:
        quote = catalog.best_quote("h100-sxm", "on_demand")
        assert quote is not None
        assert (quote.provider, quote.on_demand, quote.verified) == ("verda", 2.29, True)
        cheaper = [q for q in catalog.prices_for("h100-sxm") if q.on_demand is not None and q.on_demand < 2.29]
        assert cheaper and all(q.reserved or not q.verified for q in cheaper)

    def test_a_node_of_eight_needs_an_instance_of_eight(self) -> None:
        quote = catalog.best_quote("h100-sxm", "on_demand", per_node=8)
        assert quote is not None
        assert quote.accelerators >= 8
        assert quote.on_demand is not None and quote.on_demand > 2.29

    def test_spot_is_the_middle_of_what_was_seen(self) -> None:
        quote = next(q for q in catalog.prices_for("h100-sxm") if q.instance == "p5.48xlarge")
        assert quote.price("spot") == pytest.approx((2.1187 + 2.3413) / 2)
        assert quote.price("on_demand") == 6.88

    def test_a_recalled_quote_is_better_than_none(self) -> None:
        quote = catalog.best_quote("tpu-v4", "on_demand")
        assert quote is not None and not quote.verified

    def test_nothing_for_sale(self) -> None:
        assert catalog.best_quote("trainium2", "on_demand") is None
        assert catalog.best_quote("nothing", "spot") is None
        assert catalog.market_price("nothing") is None
        usual = catalog.market_price("mi300x")
        assert usual is not None and usual.mid == 2.2

    def test_cpu_can_be_estimated(self) -> None:
        quote = catalog.best_quote("cpu", "on_demand")
        assert quote is not None and quote.verified and quote.on_demand == 0.0279
        assert catalog.best_quote("cpu", "spot") is not None


class TestGrids:
    def test_every_region_reads(self) -> None:
        for region in catalog.region_names():
            grid = catalog.grid_intensity(region)
            assert grid is not None, region
            assert 0 < grid.gco2_per_kwh < 1400, region
            assert grid.place, region
            assert grid.source == "mean" or catalog.citation(grid.source) != grid.source, region
            members = (table("grids.yaml").entry(region) or {}).get("mean_of", ())
            assert len(grid.members) == len(members), region

    @pytest.mark.parametrize(
        ("written", "name", "provider"),
        [
            ("us-east-1", "us-east-1", "aws"),
            ("us-east1", "us-east1", "gcp"),
            ("East US", "eastus", "azure"),
            ("eastus", "eastus", "azure"),
            ("NORTH EUROPE", "northeurope", "azure"),
            ("norwayeast", "norwayeast", "azure"),
            ("United_States", "united-states", None),
            ("usa", "united-states", None),
            ("DEU", "germany", None),
            ("NOR", "norway", None),
            ("us-tx", "us-tx", None),
            ("europe-north", "europe-north", None),
            (None, "world", None),
        ],
    )
    def test_names(self, written: str | None, name: str, provider: str | None) -> None:
        grid = catalog.grid_intensity(written)
        assert grid is not None
        assert (grid.name, grid.provider) == (name, provider)

    def test_a_group_is_the_mean_of_its_members(self) -> None:
        group = catalog.grid_intensity("europe-north")
        assert group is not None
        members = [catalog.grid_intensity(name) for name in ("sweden", "norway", "finland", "denmark")]
        assert group.gco2_per_kwh == pytest.approx(sum(m.gco2_per_kwh for m in members if m) / 4, abs=0.06)
        assert group.members == ("sweden", "norway", "finland", "denmark")

    @pytest.mark.parametrize("region", ["", "nowhere", "no", "us-east-99", "]["])
    def test_unknown(self, region: str) -> None:
        assert catalog.grid_intensity(region) is None


class TestFootprint:
    def test_overhead_of_a_known_provider_and_of_any(self) -> None:
        assert catalog.facility("gcp").pue == 1.09
        assert catalog.facility("lambda").pue == catalog.facility(None).pue == 1.56
        assert catalog.facility("lambda").name == "industry"
        for name in table("facilities.yaml").names:
            assert 1 <= catalog.facility(name).pue < 2

    def test_embodied_carbon(self) -> None:
        assert catalog.embodied_carbon("h100-sxm").accelerator_kg == 164
        assert catalog.embodied_carbon("h100-sxm").verified
        assert not catalog.embodied_carbon("l4").verified
        for name in table("embodied.yaml").names:
            assert name == "default" or catalog.find_accelerator(name) is not None
            assert catalog.embodied_carbon(name).lifetime_years > 0
