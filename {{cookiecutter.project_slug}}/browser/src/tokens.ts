// The access token, in memory alone: renewed while the last one still serves, once for all who wait.

const AHEAD = 0.25; // the share of its life that a token has left when it is renewed
const DEFAULT_SECONDS = 60; // where the provider does not say how long it lasts (RFC 6749, section 5.1)
const RETRY_MS = 1000; // after a renewal that came to nothing

/** What the token endpoint gave. */
export interface Granted {
    readonly accessToken: string;
    readonly refreshToken: string | undefined;
    readonly seconds: number | undefined;
}

/** The provider gives no more tokens: somebody has to log in again. */
export class LoginEnded extends Error {
    override readonly name = "LoginEnded";

    constructor(readonly reason: string) {
        super("the login has ended");
    }
}

export class Tokens {
    private granted: Granted | undefined;
    private endsAtMs = 0;
    private renewing: Promise<void> | undefined;
    private timer = 0;

    /** Told when the token is another, and when there is none any more. */
    onChange: (() => void) | undefined;

    /**
     * @param granted by the login.
     * @param renew asks for the next; throws LoginEnded where there is none to be had.
     */
    constructor(
        granted: Granted,
        private readonly renew: (refreshToken: string) => Promise<Granted>,
    ) {
        this.take(granted);
    }

    /** When the token ends, Unix milliseconds; 0 where there is none. */
    get endsAt(): number {
        return this.endsAtMs;
    }

    /** Returns a token that has not ended; undefined where there is none to be had. */
    async current(): Promise<string | undefined> {
        if (this.granted && Date.now() >= this.endsAtMs) {
            await this.next().catch(() => undefined); // the call goes without, and the service says so
        }
        return this.granted?.accessToken;
    }

    /**
     * Gets a new token, for all who wait for one.
     * @throws LoginEnded there is none to be had; another Error: not now.
     */
    next(): Promise<void> {
        this.renewing ??= this.exchange().finally(() => {
            this.renewing = undefined;
        });
        return this.renewing;
    }

    /** Forgets all tokens, and returns the refresh token, which the provider should forget too. */
    forget(): string | undefined {
        const refreshToken = this.granted?.refreshToken;
        clearTimeout(this.timer);
        this.granted = undefined;
        this.endsAtMs = 0;
        this.onChange?.();
        return refreshToken;
    }

    private async exchange(): Promise<void> {
        const refreshToken = this.granted?.refreshToken;
        if (refreshToken === undefined) {
            this.forget();
            throw new LoginEnded("no refresh token");
        }
        try {
            const granted = await this.renew(refreshToken);
            // a provider may leave the refresh token as it is (RFC 6749, section 6); a logout meanwhile counts
            if (this.granted) {
                this.take({ ...granted, refreshToken: granted.refreshToken ?? refreshToken });
            }
        } catch (error) {
            if (error instanceof LoginEnded) {
                this.forget();
            } else if (this.granted) {
                this.wait(RETRY_MS);
            }
            throw error;
        }
    }

    private take(granted: Granted): void {
        const lifeMs = (granted.seconds ?? DEFAULT_SECONDS) * 1000;
        this.granted = granted;
        this.endsAtMs = Date.now() + lifeMs;
        this.wait(lifeMs * (1 - AHEAD));
        this.onChange?.();
    }

    private wait(ms: number): void {
        clearTimeout(this.timer);
        this.timer = window.setTimeout(() => {
            this.next().catch(() => undefined); // either tried again, or forgotten: whoever calls next is told
        }, ms);
    }
}
