/** Takes JSON files apart into documents, as they are read: an array of documents, a document a line, or one after another. */

export interface Piece {
  /** The line that it begins at, from 1. */
  readonly line: number;
  readonly text: string;
  /** Why it is no document; "" for one that may be. */
  readonly wrong: string;
}

/** The most that one document may have, in characters; what is longer is refused and not kept. */
const MOST = 24 * 1024 * 1024;

/** Feed it texts, and it gives the pieces that are whole. */
export class Splitter {
  private kept = "";
  private depth = 0;
  private quoted = false;
  private escaped = false;
  private line = 1;
  private began = 1;
  private inArray = false;
  private tooLong = false;

  *feed(text: string): Generator<Piece> {
    let start = 0;
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code === 10) this.line += 1;
      if (this.quoted) {
        if (this.escaped) this.escaped = false;
        else if (code === 92) this.escaped = true;
        else if (code === 34) this.quoted = false;
        continue;
      }
      if (this.depth > 0) {
        if (code === 34) this.quoted = true;
        else if (code === 123 || code === 91) this.depth += 1;
        else if (code === 125 || code === 93) this.depth -= 1;
        if (this.depth === 0) {
          yield this.whole(text.slice(start, at + 1));
          start = at + 1;
        }
        continue;
      }
      if (code === 123) {
        if (this.kept.trim()) yield this.stray();
        this.kept = "";
        this.depth = 1;
        this.began = this.line;
        start = at;
      } else if (code === 91 && !this.inArray && !this.kept.trim()) this.inArray = true;
      else if (code === 93 && this.inArray && !this.kept.trim()) this.inArray = false;
      else if (code === 10 && this.kept.trim()) yield this.stray();
      else if (code !== 44 && code > 32 && code !== 0xfeff) {
        if (!this.kept) this.began = this.line;
        this.kept += text[at];
      }
    }
    if (this.depth > 0) this.keep(text.slice(start));
  }

  /** What is left when the text is over. */
  *end(): Generator<Piece> {
    if (this.depth > 0) yield { line: this.began, text: this.kept.slice(0, 2000), wrong: "the file ends inside this document" };
    else if (this.kept.trim()) yield this.stray();
    else if (this.inArray) yield { line: this.line, text: "", wrong: "the file ends inside the array" };
  }

  private keep(text: string): void {
    if (this.tooLong || this.kept.length + text.length > MOST) this.tooLong = true;
    else this.kept += text;
  }

  private whole(rest: string): Piece {
    this.keep(rest);
    const piece = { line: this.began, text: this.kept, wrong: this.tooLong ? "the document is too long" : "" };
    this.kept = "";
    this.tooLong = false;
    return piece;
  }

  private stray(): Piece {
    const piece = { line: this.began, text: this.kept.slice(0, 2000), wrong: "expected a document, { … }" };
    this.kept = "";
    return piece;
  }
}
