"""What the dashboards are made of: tiles, graphs, timelines and tables that read well on a phone.

Grafana shows panels below each other where the screen is narrow, so a dashboard is read from top to bottom:
few panels, the most important one first, each as wide as the screen or, as a tile, a half or a third of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

WHOLE, HALF, THIRD = 24, 12, 8
GREEN, YELLOW, ORANGE, RED, GREY = "green", "yellow", "orange", "red", "#808080"
#: As the data source is provisioned (roles/grafana).
PROMETHEUS = common.DataSourceRef(type_val="prometheus", uid="prometheus")
#: All dashboards, as they lead to each other: uid and title.
ALL = {"atlas-overview": "Overview", "atlas-system": "System health", "atlas-content": "Content"}

Panel = stat.Panel | timeseries.Panel | statetimeline.Panel | table.Panel
Steps = Sequence[tuple[float, str]]
Mapping = dict[float, tuple[str, str]]

#: What atlas_health_state says.
HEALTH: Mapping = {0: ("Well", GREEN), 1: ("Degraded", YELLOW), 2: ("Critical", ORANGE), 3: ("Down", RED)}


@dataclass(frozen=True)
class Query:
    """An expression, and what its lines are called: `{{label}}` is filled in."""

    expr: str
    legend: str = ""


def thresholds(first: str, *steps: tuple[float, str]) -> build.ThresholdsConfig:
    """Colour what is shown: with the first below all steps, with a step's from its value on."""
    found = [dashboard.Threshold(value=None, color=first)]
    found += [dashboard.Threshold(value=value, color=color) for value, color in steps]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(found)


def words(mapping: Mapping) -> list[dashboard.ValueMapping]:
    """Show words and colours instead of numbers."""
    options = {
        f"{value:g}": dashboard.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(mapping.items())
    }
    return [dashboard.ValueMap(options=options)]


def tile(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str = "short",
    width: int = HALF,
    first: str = GREEN,
    steps: Steps = (),
    mapping: Mapping | None = None,
    decimals: int | None = None,
    link: tuple[str, str] | None = None,
) -> stat.Panel:
    """Show one number, as it is now, on a ground of its colour."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .height(4)
        .span(width)
        .unit(unit)
        .thresholds(thresholds(first, *steps))
        .color_scheme(build.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE)
        .justify_mode(common.BigValueJustifyMode.CENTER)
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("Nobody measures it")
        .with_target(Dataquery().expr(expr).instant().ref_id("A"))
    )
    if mapping:
        panel = panel.mappings(words(mapping))
    if decimals is not None:
        panel = panel.decimals(decimals)
    if link:
        panel = panel.data_links([build.DashboardLink(link[0]).url(link[1])])
    return panel


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    steps: Steps = (),
    stacked: bool = False,
    top: float | None = None,
) -> timeseries.Panel:
    """Show how numbers went, from 0 on, with the last and the highest of each below."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .height(8)
        .span(WHOLE)
        .unit(unit)
        .min(0)
        .line_width(1)
        .fill_opacity(15)
        .show_points(common.VisibilityMode.NEVER)
        .no_value("Nothing of it was measured")
        .legend(
            build_common.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull"])
        )
        .tooltip(
            build_common.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if steps:
        panel = panel.thresholds(thresholds("transparent", *steps)).thresholds_style(
            build_common.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.LINE)
        )
    if stacked:
        panel = panel.stacking(build_common.StackingConfig().mode(common.StackingMode.NORMAL))
    if top is not None:
        panel = panel.max(top)
    for letter, query in zip("ABCDEF", queries, strict=False):
        panel = panel.with_target(
            Dataquery().expr(query.expr).legend_format(query.legend).range().ref_id(letter)
        )
    return panel


def timeline(
    title: str, description: str, query: Query, mapping: Mapping, height: int = 8
) -> statetimeline.Panel:
    """Show since when each of several things is how it is."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .height(height)
        .span(WHOLE)
        .thresholds(thresholds(GREY))
        .mappings(words(mapping))
        .show_value(common.VisibilityMode.NEVER)
        .merge_values(merge_values=True)
        .row_height(0.8)
        .fill_opacity(85)
        .line_width(0)
        .no_value("Nobody measures it")
        .legend(
            build_common.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
        .with_target(Dataquery().expr(query.expr).legend_format(query.legend).range().ref_id("A"))
    )


def listing(
    title: str, description: str, expr: str, columns: dict[str, str], *, value: str = ""
) -> table.Panel:
    """List what an expression finds now: the labels named, and its value, where that says something."""
    shown = columns | ({"Value": value} if value else {})
    options = {
        "includeByName": dict.fromkeys(shown, True),
        "indexByName": {name: index for index, name in enumerate(shown)},
        "renameByName": shown,
    }
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .height(7)
        .span(WHOLE)
        .decimals(0)
        .thresholds(thresholds(GREEN))
        .no_value("None")
        .with_target(Dataquery().expr(expr).format(PromQueryFormat.TABLE).instant().ref_id("A"))
        .with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=options))
    )


def nothing(label: str) -> str:
    """Say in an expression what to show where there is nothing: a zero that is called none."""
    return f'label_replace(vector(0), "{label}", "none", "", "")'


def event(name: str, color: str, expr: str, title: str) -> build.AnnotationQuery:
    """Mark when something happened, in all graphs."""
    return (
        build.AnnotationQuery()
        .name(name)
        .datasource(PROMETHEUS)
        .enable(enable=True)
        .icon_color(color)
        .expr(expr)
        .step("60s")
        .title_format(title)
    )


def events() -> list[Builder[dashboard.AnnotationQuery]]:
    """Mark what changed: releases, restarts by the health checks, and alerts."""
    return [
        event(
            "Releases",
            "blue",
            "count by (version) (atlas_build_info)"
            " unless count by (version) (max_over_time(atlas_build_info[1d] offset 2m))",
            "Release {{version}}",
        ),
        event(
            "Restarts",
            "purple",
            "sum by (unit) (increase(atlas_health_restarts_total[2m])) > 0",
            "{{unit}} was restarted",
        ),
        event(
            "Alerts",
            "red",
            'max by (alertname, severity) (ALERTS{alertstate="firing", severity=~"warning|critical"})',
            "{{severity}}: {{alertname}}",
        ),
    ]


def page(uid: str, description: str, since: str, panels: Sequence[Panel]) -> dashboard.Dashboard:
    """Put panels together, with the way to the other dashboards and to the status page above."""
    made = (
        build.Dashboard(ALL[uid])
        .uid(uid)
        .description(description)
        .tags(["atlas"])
        .timezone("browser")
        .time(since, "now")
        .refresh("1m")
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .annotations(events())
    )
    for other, title in ALL.items():
        if other != uid:
            made = made.link(
                build.DashboardLink(title)
                .type(dashboard.DashboardLinkType.LINK)
                .icon("dashboard")
                .url(f"/grafana/d/{other}")
                .keep_time(keep_time=True)
            )
    made = made.link(
        build.DashboardLink("Status page").type(dashboard.DashboardLinkType.LINK).icon("bolt").url("/status/")
    )
    for number, panel in enumerate(panels, 1):
        made = made.with_panel(panel.id(number))
    built = made.build()
    for link in built.links or []:
        link.placement = None  # type: ignore[assignment]  # in sight, not in a menu
    return built
