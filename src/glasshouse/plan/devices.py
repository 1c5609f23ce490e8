"""What one may rent: published peaks, memory, links, power and price of training devices, each number with its source.

Units: FLOP/s (dense, fp32 accumulation), bytes, bytes/s one way, watts, US dollars an hour.
`matmul_share` and `fp8_gain` are fitted, see `published`; `attention_share` is measured by the kernels' authors.
Prices are one seller's list of March 2026 (RunPod, community cloud), so that devices compare; they halve in two years.
Left out: devices joined across sellers, spot prices.
"""

from dataclasses import dataclass, replace

from glasshouse.core.errors import ConfigError, suggest
from glasshouse.meter import DeviceProfile


@dataclass(frozen=True, slots=True)
class Device:
    """`link` joins the devices of one node, `network` the nodes (for each device).

    matmul_share: of the bf16 peak that large matrix products reach at the device's power limit.
    attention_share: of the bf16 peak, forward and backward together, by the best attention kernel in common use.
    """

    name: str
    bf16_flops_per_s: float
    memory_bytes: float
    bytes_per_s: float
    link_bytes_per_s: float
    network_bytes_per_s: float
    per_node: int
    watts: float
    usd_per_hour: float
    matmul_share: float
    attention_share: float
    fp8_gain: float = 1.0  # how much faster large products are in fp8; 1 where there is no fp8


AMPERE_MATMUL = 0.64
HOPPER_MATMUL = 0.60
HOPPER_500W_MATMUL = 0.44
FP8_GAIN = 1.51

A100_80 = Device(
    name="a100-80",
    bf16_flops_per_s=312e12,  # NVIDIA A100 datasheet, nvidia.com/a100: BFLOAT16 tensor core, dense
    memory_bytes=80e9,  # the same
    bytes_per_s=2039e9,  # the same, SXM4 80 GB
    link_bytes_per_s=300e9,  # the same: NVLink 3, 600 GB/s both ways
    network_bytes_per_s=25e9,  # 200 Gb/s a GPU: both clusters of Llama 2, arXiv:2307.09288 section 2.2.1
    per_node=8,
    watts=400.0,  # datasheet's limit; arXiv:2307.09288 table 2 counts with it
    usd_per_hour=1.39,  # RunPod, A100 SXM
    matmul_share=AMPERE_MATMUL,
    attention_share=0.64,  # FlashAttention-2, arXiv:2307.08691 figure 4: 200 TFLOP/s of 312, causal, head 128
)

H100 = Device(
    name="h100",
    bf16_flops_per_s=989.4e12,  # NVIDIA H100 datasheet, SXM5: 1,979 with sparsity
    memory_bytes=80e9,  # the same
    bytes_per_s=3350e9,  # the same
    link_bytes_per_s=450e9,  # the same: NVLink 4, 900 GB/s both ways
    network_bytes_per_s=50e9,  # 400 Gb/s a GPU: arXiv:2407.21783 section 3.3.1
    per_node=8,
    watts=700.0,  # datasheet
    usd_per_hour=2.69,  # RunPod, H100 SXM
    matmul_share=HOPPER_MATMUL,
    attention_share=0.35,  # FlashAttention-2 on Hopper, arXiv:2407.08608 section 1: 35 %
    fp8_gain=FP8_GAIN,
)

DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        # 40 GB: 1,555 GB/s (A100 datasheet, SXM4 40 GB); price: Lambda's, as told in llm.c's discussion 481
        replace(A100_80, name="a100-40", memory_bytes=40e9, bytes_per_s=1555e9, usd_per_hour=1.29),
        A100_80,
        H100,
        # Grand Teton of torchtitan's tables: 96 GB of HBM2e at 2.4 TB/s, 500 W (benchmarks/llama3_h100_202412)
        replace(H100, name="h100-96-500w", memory_bytes=96e9 * 1.024**3, bytes_per_s=2400e9, watts=500.0,
                matmul_share=HOPPER_500W_MATMUL),
        # NVIDIA H200 datasheet: 141 GB at 4.8 TB/s, else the H100's chip; price: RunPod
        replace(H100, name="h200", memory_bytes=141e9, bytes_per_s=4800e9, usd_per_hour=3.59),
        Device(
            name="b200",
            bf16_flops_per_s=2250e12,  # NVIDIA HGX B200 datasheet: 36 PFLOP/s of 8 with sparsity
            memory_bytes=180e9,  # the same: 1.44 TB of 8
            bytes_per_s=7700e9,  # the same
            link_bytes_per_s=900e9,  # the same: NVLink 5, 1.8 TB/s both ways
            network_bytes_per_s=50e9,  # 400 Gb/s a GPU, DGX B200 datasheet (ConnectX-7)
            per_node=8,
            watts=1000.0,  # the same
            usd_per_hour=5.98,  # RunPod
            matmul_share=HOPPER_MATMUL,  # not fitted: no row of ours; the generation before it
            attention_share=0.35,  # likewise
            fp8_gain=FP8_GAIN,
        ),
        Device(
            name="l4",
            bf16_flops_per_s=121e12,  # NVIDIA L4 datasheet: 242 with sparsity
            memory_bytes=24e9,  # the same
            bytes_per_s=300e9,  # the same
            link_bytes_per_s=32e9,  # PCIe 4 x16, one way
            network_bytes_per_s=3.1e9,  # 100 Gb/s a node of 4 (Google Cloud, g2-standard-48)
            per_node=4,
            watts=72.0,  # datasheet
            usd_per_hour=0.44,  # RunPod
            matmul_share=AMPERE_MATMUL,  # not fitted
            attention_share=0.64,
            fp8_gain=FP8_GAIN,
        ),
        Device(
            name="rtx-4090",
            bf16_flops_per_s=165.2e12,  # NVIDIA Ada whitepaper, appendix A: bf16 with fp32 accumulation, dense
            memory_bytes=24e9,  # the same
            bytes_per_s=1008e9,  # the same
            link_bytes_per_s=32e9,  # PCIe 4 x16, one way: no NVLink
            network_bytes_per_s=3.1e9,  # 200 Gb/s a node of 8
            per_node=8,
            watts=450.0,  # the same
            usd_per_hour=0.34,  # RunPod
            matmul_share=AMPERE_MATMUL,  # not fitted
            attention_share=0.64,
            fp8_gain=FP8_GAIN,
        ),
    )
}  # fmt: skip


def find_device(name: str) -> Device:
    """The device of that name; `ConfigError` with the nearest and all that are known."""
    if name in DEVICES:
        return DEVICES[name]
    raise ConfigError(
        f"unknown device {name!r}.{suggest(name, DEVICES)} Known: {', '.join(DEVICES)}, and `here` for this machine"
    )


def device_here(profile: DeviceProfile, watts: float, usd_per_kwh: float) -> Device:
    """This machine as one device: its measured speed is what matrix products reach, so its shares are 1."""
    return Device(
        name="here", bf16_flops_per_s=profile.flops_per_s, memory_bytes=profile.memory_bytes,
        bytes_per_s=profile.bytes_per_s, link_bytes_per_s=profile.bytes_per_s, network_bytes_per_s=profile.bytes_per_s,
        per_node=1, watts=watts, usd_per_hour=watts / 1e3 * usd_per_kwh, matmul_share=1.0, attention_share=0.5,
    )  # fmt: skip
