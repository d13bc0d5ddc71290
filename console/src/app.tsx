/** The frame of every page: who is signed in, the menu of sections, and the section that the address names. */

import type { JSX } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { renew } from "./api";
import { SECTIONS, sectionsOf } from "./pages";
import { link, useLocation } from "./router";
import { begin, end, nameOf, type Session, SessionProvider, useSession, type Ways, ways } from "./session";
import { SignIn } from "./signin";
import { Icon, Mark } from "./ui/icons";
import { useKeys } from "./ui/keys";
import { ForAdministrators, Page as Content } from "./ui/page";
import { Empty, Failure, IconButton } from "./ui/parts";
import { Toasts } from "./ui/toasts";

export function App(): JSX.Element {
  const [session, setSession] = useState<Session | null>(null);
  const [known, setKnown] = useState<Ways | null>(null);
  const [told, setTold] = useState("");
  const [failure, setFailure] = useState<unknown>(null);
  const enter = useCallback(async (token: string | null): Promise<void> => {
    const made = await begin(token);
    const leave = (why: string): void => {
      setTold(why);
      setSession(null);
    };
    made.api.onSignedOut = () => leave("The server ended your session. Sign in again to go on where you were.");
    setSession({ ...made, signOut: () => void end().then(() => leave("You are signed out.")) });
  }, []);
  useEffect(() => {
    const look = async (): Promise<void> => {
      const found = await ways();
      const token = found.begun ? await renew() : null;
      if (found.open || token !== null) await enter(token);
      setKnown(found);
    };
    look().catch(setFailure);
  }, []);
  if (failure) return <main class="sign-in"><Failure error={failure} retry={() => window.location.reload()} /></main>;
  if (!known) return <main class="sign-in" aria-busy="true" />;
  if (!session) return <SignIn enter={enter} told={told} providers={known.providers} />;
  return (
    <SessionProvider value={session}>
      <Frame />
      <Toasts />
    </SessionProvider>
  );
}

function Frame(): JSX.Element {
  const session = useSession();
  const { caller, signOut, version } = session;
  const location = useLocation();
  const [first = SECTIONS[0]?.name, ...path] = location.path;
  const section = SECTIONS.find(({ name }) => name === first);
  const Page = section?.page;
  const keys = useKeys();
  return (
    <div class="frame">
      <a class="skip" href="#content" onClick={toContent}>
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={link([])} title={`Doorleaf ${version}`}>
          <Mark size={22} /> <span>Doorleaf</span>
        </a>
        <nav class="sections" aria-label="Sections">
          {sectionsOf(session).map(({ name, title, icon }) => (
            <a key={name} href={link([name])} aria-current={name === first ? "page" : undefined}>
              <Icon name={icon} /> <span>{title}</span>
            </a>
          ))}
        </nav>
        {keys.buttons}
        <div class="who">
          <Icon name="person" />
          <span class="clip" title={caller.administrator ? "An administrator: rules do not judge you" : "You see what the rules allow"}>
            {nameOf(caller)}
          </span>
          {caller.provider !== "system" && <IconButton icon="out" label="Sign out" onClick={signOut} />}
        </div>
      </header>
      {section?.managing && !caller.manages ? (
        <ForAdministrators what={section.managing} />
      ) : Page ? (
        <Page path={path} query={location.query} />
      ) : (
        <Content>
          <Empty whole title="There is no such page" icon="search">
            <p>
              <a href={link([])}>Go to your data</a>
            </p>
          </Empty>
        </Content>
      )}
      {keys.opened}
    </div>
  );
}

function toContent(event: Event): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}
