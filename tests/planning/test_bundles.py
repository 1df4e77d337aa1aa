"""What TPU's compiler writes of a kernel's schedule, shortened."""

import pytest

from trackers.planning import bundles

SCHEDULE = """= control target key start
LB: loop body
= control target key end

     0   :  { %s1 = inlined_call_operand.hbm [shape: bf16[2,8], index: 0] }
   0x1   :  { %10 = vsyncpa [#allocation3], 0 }
   0x2 LB: > { %s20 = sadd.s32 1, %s19  ;;  %s19 = sphi %s18, %s20 }
   0x3   : > { %s21 = smul.u32 8, %s19 }
   0x4   : > { %p12_p6 = scmp.ge.s32.totalorder %s20, 194 /* loop exit test */  ;;  %s17 = sld [smem:[#allocation9_spill]] }
   0x5   : > { %14 = sbr.rel (!%p12_p6) target = $region2 }
   0x6   :  { %s99 = sst [smem:[#allocation3]] %s1 }
"""  # noqa: E501


def test_the_body_counts_as_often_as_it_runs():
    assert bundles.executed(SCHEDULE) == 3 + 4 * 194
    assert bundles.executed("   0x1   :  { %10 = vsyncpa [#allocation3], 0 }\n") == 1


def test_loops_in_loops_are_refused():
    with pytest.raises(ValueError, match="2 in each other"):
        bundles.executed(SCHEDULE.replace("0x3   : >", "0x3   : > >"))


PROGRAM = """  %fusion = bf16[8]{0} fusion(%x), kind=kLoop, calls=%inner
  %attention.1 = bf16[8]{0} custom-call(%fusion), custom_call_target="tpu_custom_call"
"""


def test_kernels_alone_are_taken_and_the_folder_is_emptied(tmp_path):
    (tmp_path / "17-attention.1-01-final_bundles.txt").write_text(SCHEDULE)
    (tmp_path / "17-attention.1-00-schedule-analysis_final_bundles.txt").write_text("Schedule analysis:")
    (tmp_path / "18-fusion-01-final_bundles.txt").write_text(SCHEDULE)
    (tmp_path / "TLP-hlo.txt").write_text("HloModule x")
    assert bundles.take(tmp_path, PROGRAM) == {"attention.1": 3 + 4 * 194}
    assert not list(tmp_path.iterdir())


def test_a_kernel_without_a_schedule_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no schedule was written of attention\.1"):
        bundles.take(tmp_path, PROGRAM)
