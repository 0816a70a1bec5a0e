"""H3 依事件时施行的规则与日历 · Rules and calendars in force at the event. Decree 809 Art. 44; Civil Code Art. 201, 203.

An act is judged by what was in force on the day it is said to have happened, a request by the day of its record, a
deadline by the day it falls due. So a day claimed long before its record is looked at by a human, and conduct from
before the Regulation is recorded but is no violation of it. What was imported from older systems has its own mark.

行为以其所称发生之日有效的规则判断，申请以其记录之日有效的规则判断，期限以其届满之日有效的规则判断。因此，所称日期远
早于记录日期的，由人核查；条例施行前的行为予以记录，但不构成违反条例。从旧系统导入的记录，另有标记。
"""

IMPORTED = ["import.batch"]


def on_any(event, state, env):
    if event.kind in IMPORTED:
        return None
    late = day(env.now) - day(event.time)
    if event.time < ms(env.params["in_force_from"]):
        return alert("before-law", days=late)
    lag = env.params["record_lag_days"]
    if late > lag["strict"]:
        return alert("recorded-late", days=late, open=lag["open"])
