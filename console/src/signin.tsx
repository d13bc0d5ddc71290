/** The page where people say who they are. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError } from "./api";
import { logIn, type Provider } from "./session";
import { Mark } from "./ui/icons";
import { Choice, Failure, useTitle } from "./ui/parts";

const WAYS = [
  ["api-key", "API key"],
  ["local-userpass", "Email and password"],
  ["custom-token", "Token"],
] as const;

const NOTES = {
  "api-key": "The first start of the server shows a key, and “doorleaf keys create” makes more.",
  "local-userpass": "You see what the rules of this server let you see.",
  "custom-token": "A JSON Web Token of an issuer that this server trusts.",
} as const;

type Way = keyof typeof NOTES;

/** What the server's refusal means on this page. */
function explained(error: unknown, way: Way): unknown {
  if (!(error instanceof ApiError) || error.status !== 401) return error;
  if (way === "api-key") return new ApiError("The server does not know this key. Is it whole, and of this server?", 401, error.code);
  if (way === "local-userpass") return new ApiError("There is no account with this address and password.", 401, error.code);
  return error;
}

interface Props {
  readonly enter: (token: string) => Promise<void>;
  readonly told: string;
  readonly providers: readonly Provider[];
}

export function SignIn({ enter, told, providers }: Props): JSX.Element {
  useTitle("Sign in");
  const offered = WAYS.filter(([name]) => providers.includes(name));
  const [way, setWay] = useState<Way>(offered[0]?.[0] ?? "api-key");
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const attempt = async (shown: Record<string, string | boolean>): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await enter(await logIn(shown));
    } catch (failure) {
      setError(explained(failure, way));
      setBusy(false);
    }
  };
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const shown: Record<string, string> = {};
    for (const name of ["key", "email", "password", "token"]) {
      const text = given.get(name);
      if (typeof text === "string") shown[name] = name === "password" ? text : text.trim();
    }
    void attempt(shown);
  };
  return (
    <main class="sign-in">
      <form class="card stack" onSubmit={submit}>
        <h1>
          <Mark size={28} /> Doorleaf
        </h1>
        {told && <p role="status">{told}</p>}
        {offered.length > 1 && <Choice label="Sign in with" value={way} options={offered} onChange={setWay} />}
        <Fields way={way} key={way} />
        {error !== null && <Failure error={error} />}
        <button type="submit" class="button primary" disabled={busy}>
          {busy ? "Signing in …" : "Sign in"}
        </button>
        {providers.includes("anon-user") && (
          <button type="button" class="button" disabled={busy} onClick={() => void attempt({ anonymous: true })}>
            Go in without an account
          </button>
        )}
        <p class="muted small">{NOTES[way]}</p>
      </form>
    </main>
  );
}

function Fields({ way }: { way: Way }): JSX.Element {
  if (way === "local-userpass")
    return (
      <>
        <label class="field">
          <span>Email</span>
          <input name="email" type="email" required autocomplete="username" />
        </label>
        <label class="field">
          <span>Password</span>
          <input name="password" type="password" required autocomplete="current-password" />
        </label>
      </>
    );
  const [name, label] = way === "api-key" ? ["key", "API key"] : ["token", "Token"];
  return (
    <label class="field">
      <span>{label}</span>
      <input name={name} type="password" required autocomplete="off" spellcheck={false} placeholder={way === "api-key" ? "dl_…" : ""} />
    </label>
  );
}
