"""How the report looks: by day, by night, and on paper."""

STYLE = """
:root { color-scheme: light dark;
  --ground: #ffffff; --ink: #1d2330; --soft: #566074; --line: #d5dae3; --shade: #f4f6f9; --link: #0b57b0;
  --passed: #1a7f4b; --failed: #c22f2f; --waived: #96690a; --none: #98a1b3; --unknown: #7446b8;
  --reached: #dff3e7; --missed: #f4f6f9; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #12161f; --ink: #e6eaf2; --soft: #a3adc0; --line: #333c4e; --shade: #1a202c; --link: #82b7ff;
    --passed: #54c98a; --failed: #ff8080; --waived: #e2b254; --none: #77829a; --unknown: #bf9cf5;
    --reached: #17382a; --missed: #1a202c; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 0.25rem; }
header p { margin: 0.35rem 0 0; color: var(--soft); }
header .grade { color: var(--ink); font-size: 1.2rem; }
a { color: var(--link); }
code { font: 0.85em ui-monospace, monospace; color: var(--soft); overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; }
svg.ladder { width: 100%; height: auto; display: block; }
.ladder .ground { stroke: var(--line); stroke-width: 2; }
.ladder .step { stroke: var(--line); stroke-width: 1.5; }
.ladder .step.reached { fill: var(--reached); stroke: var(--passed); }
.ladder .step.missed { fill: var(--missed); stroke-dasharray: 6 4; }
.ladder text { fill: var(--ink); font: 15px system-ui, sans-serif; }
.ladder .name { font-weight: 600; font-size: 19px; }
.ladder .share { fill: var(--soft); }
.ladder .bar.passed { fill: var(--passed); }
.ladder .bar.waived { fill: var(--waived); }
.ladder .bar.not-applicable { fill: var(--none); }
.ladder .bar.unknown { fill: var(--unknown); }
.ladder .bar.failed { fill: var(--failed); }
.ladder .pole { stroke: var(--ink); stroke-width: 3; stroke-linecap: round; }
.ladder .flag { fill: var(--passed); }
table { border-collapse: collapse; width: 100%; font-size: 0.94rem; }
caption { text-align: left; color: var(--soft); padding-bottom: 0.3rem; }
th, td { text-align: left; vertical-align: top; padding: 0.55rem 0.7rem; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 600; background: var(--shade); }
tbody th { font-weight: 600; }
td p, th p { margin: 0.25rem 0 0; font-weight: 400; font-size: 0.88rem; color: var(--soft); }
td p.remedy { color: var(--ink); border-left: 3px solid var(--failed); padding-left: 0.6rem; }
.checks { table-layout: fixed; }
.checks th:first-child, .checks td:first-child { width: 9.2rem; }
.checks td { overflow-wrap: anywhere; }
.counts td { font-variant-numeric: tabular-nums; }
.meaning { color: var(--soft); margin: 0 0 0.75rem; }
.badge { white-space: nowrap; font-weight: 600; font-size: 0.9rem; }
.badge.passed { color: var(--passed); }
.badge.failed { color: var(--failed); }
.badge.waived { color: var(--waived); }
.badge.not-applicable { color: var(--soft); font-weight: 400; }
.badge.unknown { color: var(--unknown); }
li { margin: 0.4rem 0; }
@media (max-width: 44rem) {
  .counts th, .counts td { padding: 0.4rem 0.3rem; font-size: 0.8rem; }
  .counts .badge { white-space: normal; font-size: 0.8rem; }
  .checks thead { display: none; }
  .checks tr, .checks td, .checks th { display: block; width: auto; border-top: 0; }
  .checks tr { border-top: 1px solid var(--line); padding: 0.4rem 0; }
  .checks td, .checks th { padding: 0.2rem 0; }
}
@media print {
  :root { --ground: #ffffff; --ink: #000000; --soft: #444444; --line: #bbbbbb; --shade: #ffffff; --link: #000000;
    --passed: #14663c; --failed: #a32020; --waived: #7a5507; --none: #888888; --unknown: #5d3794;
    --reached: #e4f4ea; --missed: #ffffff; }
  main { max-width: none; padding: 0; }
  body { font-size: 10.5pt; }
  tr, figure { break-inside: avoid; }
  h2, .meaning { break-after: avoid; }
  svg, .badge { print-color-adjust: exact; }
}
"""
