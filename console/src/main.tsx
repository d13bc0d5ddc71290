import { render } from "preact";
import { App } from "./app";
import "uplot/dist/uPlot.min.css";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/data.css";
import "./styles/admin.css";

const root = document.getElementById("app");
if (root) render(<App />, root);
